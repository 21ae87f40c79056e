# BigEarthNet as published (RGB, 19 classes), with OML, because the published config names a loss
# that does not exist (smoothap). Figures are means over runs of about 500 queries, as published.
_base_ = [
    '../_base_/datasets/bigearthnet_rgb_ml.py',
    '../_base_/models/oml_resnet50.py',
    '../_base_/schedules/oml_adam.py',
]

model = dict(head=dict(num_classes={{_base_.num_classes}}), losses=[dict(type='OMLLoss')])
train_cfg = dict(max_epochs=40, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
val_evaluator = dict(mean_chunk=500)
test_evaluator = dict(mean_chunk=500)
