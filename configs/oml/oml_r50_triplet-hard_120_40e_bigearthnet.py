# The mined triplet loss.
_base_ = './oml_r50_oml_120_40e_bigearthnet.py'
model = dict(losses=[dict(type='TripletHardLoss')])
