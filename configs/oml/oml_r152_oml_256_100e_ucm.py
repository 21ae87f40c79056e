# ResNet-152.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(encoder=dict(model='resnet152', init_cfg=dict(checkpoint='timm/resnet152.tv_in1k')))
