# OML alone.
_base_ = './oml_vit_bce_64_3e_aid.py'
model = dict(losses=[dict(type='OMLLoss')])
