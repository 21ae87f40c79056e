_base_ = [
    '../_base_/models/cd_unet.py',
    '../_base_/datasets/dsifn_256.py',
    '../_base_/schedules/cd_80k.py',
]

# windows of the size of the training crops
model = dict(test_cfg=dict(crop_size=(256, 256), stride=(128, 128)))
