_base_ = [
    '../_base_/models/grn_resnet18.py',
    '../_base_/datasets/grn_ucm.py',
    '../_base_/schedules/grn_130e.py',
]

memory = dict(type='FeatureBank', size=_base_.num_images, dim=128, num_classes=_base_.num_classes)
model = dict(losses=[dict(type='SNDLoss', temperature=0.05, memory=memory)])
