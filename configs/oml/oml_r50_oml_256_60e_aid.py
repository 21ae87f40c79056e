# AID as published, with OML, because the published config names a loss that does not exist
# (proxy_ap).
_base_ = [
    '../_base_/datasets/aid_ml.py',
    '../_base_/models/oml_resnet50.py',
    '../_base_/schedules/oml_adam.py',
]

model = dict(head=dict(num_classes={{_base_.num_classes}}), losses=[dict(type='OMLLoss')])
train_cfg = dict(max_epochs=60)
