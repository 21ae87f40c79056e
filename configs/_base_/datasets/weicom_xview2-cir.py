# The test images of xView2 asked for the state after a disaster.
_base_ = './weicom_archive.py'

test_dataloader = dict(dataset=dict(type='ImageArchive', data_root='data/xView2/test/images'))
# One image is right, so that R@1 is the share of queries answered at once.
test_evaluator = dict(ks=[1, 5, 10, 20], queries=dict(type='XView2CIR', texts='all'))
