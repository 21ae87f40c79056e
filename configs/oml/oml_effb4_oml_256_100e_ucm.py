# EfficientNet-B4.
_base_ = './oml_effb0_oml_256_100e_ucm.py'
model = dict(encoder=dict(model='tf_efficientnet_b4'))
