# The test images of xView2 asked for the state after a disaster.
_base_ = './weicom_archive.py'

test_dataloader = dict(dataset=dict(type='ImageArchive', data_root='data/xView2/test/images'))
test_evaluator = dict(queries=dict(type='XView2CIR', texts='default'))
