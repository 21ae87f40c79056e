# ResNet-101.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(encoder=dict(model='resnet101', init_cfg=dict(checkpoint='timm/resnet101.tv_in1k')))
