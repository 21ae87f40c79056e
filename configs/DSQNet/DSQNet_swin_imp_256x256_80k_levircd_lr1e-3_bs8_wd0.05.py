_base_ = [
    '../_base_/models/dsqnet_swin.py',
    '../_base_/datasets/levircd_256.py',
    '../_base_/schedules/cd_80k_lr1e-3.py',
]

# windows of the size of the training crops
model = dict(test_cfg=dict(crop_size=(256, 256), stride=(128, 128)))
