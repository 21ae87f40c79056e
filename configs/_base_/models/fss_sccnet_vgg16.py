_base_ = './fss_sccnet_resnet50.py'

model = dict(
    backbone=dict(arch='vgg16', init_cfg=dict(checkpoint='torchvision://vgg16')),
    head=dict(in_channels=(3, 3, 1)),
)
