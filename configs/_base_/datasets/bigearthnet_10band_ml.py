# The 10 m bands, then the 20 m bands on the 10 m grid.
_base_ = './bigearthnet_rgb_ml.py'

in_channels = 10
pipeline = [dict(type='LoadBigEarthNetPatch', bands='10'), *_base_.pipeline[1:]]

train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
