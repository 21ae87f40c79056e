# ResNet-34.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(encoder=dict(model='resnet34', init_cfg=dict(checkpoint='timm/resnet34.tv_in1k')))
