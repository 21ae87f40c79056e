# Output stride 8.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(encoder=dict(output_stride=8))
