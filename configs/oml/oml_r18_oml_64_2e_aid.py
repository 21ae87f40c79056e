# OML alone.
_base_ = './oml_r18_bce_64_2e_aid.py'
model = dict(losses=[dict(type='OMLLoss')])
