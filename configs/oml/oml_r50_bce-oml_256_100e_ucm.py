# Binary cross entropy and OML, equally weighted.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(losses=[dict(type='MultiLabelBCELoss'), dict(type='OMLLoss')])
