# WHDLD with the published schedule: ResNet-50, OML alone. The published config of this set trains
# the average contrastive loss, see oml_r50_contrastive_256_100e_whdld.py.
_base_ = [
    '../_base_/datasets/whdld_ml.py',
    '../_base_/models/oml_resnet50.py',
    '../_base_/schedules/oml_adam.py',
]

model = dict(head=dict(num_classes={{_base_.num_classes}}), losses=[dict(type='OMLLoss')])
train_cfg = dict(max_epochs=100)
default_hooks = dict(checkpoint=dict(interval=1))
