# SE-Resnext50_32x4d of the Caffe family (ceil-mode pool).
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(encoder=dict(model='legacy_seresnext50_32x4d', init_cfg=dict(checkpoint='timm')))
