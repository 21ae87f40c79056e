# Binary cross entropy and OML, equally weighted.
_base_ = './oml_r18_bce_64_10e_aid.py'
model = dict(losses=[dict(type='MultiLabelBCELoss'), dict(type='OMLLoss')])
