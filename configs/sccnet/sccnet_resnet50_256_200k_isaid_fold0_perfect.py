# Oracle: the eigenvector that fits the ground truth best
_base_ = './sccnet_resnet50_256_200k_isaid_fold0_fuse.py'

model = dict(post_processor=dict(mode='perfect'))
