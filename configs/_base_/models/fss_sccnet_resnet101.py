_base_ = './fss_sccnet_resnet50.py'

model = dict(
    backbone=dict(arch='resnet101', init_cfg=dict(checkpoint='torchvision://resnet101')),
    head=dict(in_channels=(4, 23, 3)),
)
