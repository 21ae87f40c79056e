_base_ = './sndl_resnet18_256_130e_dfc15.py'

model = dict(
    head=dict(num_classes=_base_.num_classes),
    losses=[*_base_.model.losses, dict(type='MultiLabelBCELoss')],
)
