# WHDLD as published: ResNet-50, average contrastive loss.
_base_ = [
    '../_base_/datasets/whdld_ml.py',
    '../_base_/models/oml_resnet50.py',
    '../_base_/schedules/oml_adam.py',
]

model = dict(
    head=dict(num_classes={{_base_.num_classes}}), losses=[dict(type='ContrastiveAverageLoss')]
)
train_cfg = dict(max_epochs=100)
default_hooks = dict(checkpoint=dict(interval=1))
