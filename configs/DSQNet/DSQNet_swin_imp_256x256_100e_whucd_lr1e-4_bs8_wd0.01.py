_base_ = [
    '../_base_/models/dsqnet_swin.py',
    '../_base_/datasets/whucd_256.py',
    '../_base_/schedules/cd_100e.py',
]

# windows of the size of the training crops
model = dict(test_cfg=dict(crop_size=(256, 256), stride=(128, 128)))
