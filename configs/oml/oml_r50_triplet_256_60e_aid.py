# The average triplet loss.
_base_ = './oml_r50_oml_256_60e_aid.py'
model = dict(losses=[dict(type='TripletAverageLoss')])
