# UCM as published: ResNet-50, average contrastive loss.
_base_ = [
    '../_base_/datasets/ucm_ml.py',
    '../_base_/models/oml_resnet50.py',
    '../_base_/schedules/oml_adam.py',
]

model = dict(
    head=dict(num_classes={{_base_.num_classes}}), losses=[dict(type='ContrastiveAverageLoss')]
)
train_cfg = dict(max_epochs=100)
