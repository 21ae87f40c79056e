# The average triplet loss.
_base_ = './oml_r50_oml_256_100e_whdld.py'
model = dict(losses=[dict(type='TripletAverageLoss')])
