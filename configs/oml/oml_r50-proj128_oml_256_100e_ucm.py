# A learned projection to 128 dimensions.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(head=dict(embed_dims=128))
