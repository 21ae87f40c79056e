# The 10 m, 20 m and 60 m bands; the further filters of the stem start as the mean of the RGB ones.
_base_ = [
    '../_base_/datasets/bigearthnet_12band_ml.py',
    '../_base_/models/oml_resnet50.py',
    '../_base_/schedules/oml_adam.py',
]

model = dict(
    encoder=dict(in_channels={{_base_.in_channels}}),
    head=dict(num_classes={{_base_.num_classes}}),
    losses=[dict(type='OMLLoss')],
)
train_cfg = dict(max_epochs=40, val_interval=1)
default_hooks = dict(
    checkpoint=dict(interval=1),
    # true colours: B04, B03, B02
    visualization=dict(bands=(2, 1, 0)),
)
val_evaluator = dict(mean_chunk=500)
test_evaluator = dict(mean_chunk=500)
