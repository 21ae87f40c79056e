# ResNet-18.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(encoder=dict(model='resnet18', init_cfg=dict(checkpoint='timm/resnet18.tv_in1k')))
