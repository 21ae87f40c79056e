# All bands: 10 m, then 20 m, then 60 m, all on the 10 m grid.
_base_ = './bigearthnet_rgb_ml.py'

in_channels = 12
pipeline = [dict(type='LoadBigEarthNetPatch', bands='12'), *_base_.pipeline[1:]]

train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
