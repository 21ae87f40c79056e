# VGG-16 without batch norm.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(encoder=dict(model='vgg16', init_cfg=dict(checkpoint='timm')))
