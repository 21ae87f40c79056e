# Binary cross entropy and OML, equally weighted.
_base_ = './oml_r50_oml_120_40e_bigearthnet.py'
model = dict(losses=[dict(type='MultiLabelBCELoss'), dict(type='OMLLoss')])
