# The test images of xView2 with queries for the state after a disaster.
_base_ = './weicom_archive.py'

data_root = 'data/xView2/test/images'
test_dataloader = dict(dataset=dict(type='ImageArchive', data_root=data_root))
# Each query has one correct image, so R@1 is the share of queries whose first hit is correct.
test_evaluator = dict(ks=[1, 5, 10, 20], queries=dict(type='XView2CIR', texts='all'))
