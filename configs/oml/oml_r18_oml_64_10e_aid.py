# OML alone.
_base_ = './oml_r18_bce_64_10e_aid.py'
model = dict(losses=[dict(type='OMLLoss')])
