# Dual attention on the last feature map.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(neck=dict(type='DualAttention'))
