# SE-Resnet101 of the Caffe family (ceil-mode pool).
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(encoder=dict(model='legacy_seresnet101', init_cfg=dict(checkpoint='timm')))
