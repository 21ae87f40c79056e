# Generalised-mean pooling with a learnable power.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(head=dict(pool=dict(mode='gem')))
