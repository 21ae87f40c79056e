_base_ = [
    '../_base_/models/cd_unet.py',
    '../_base_/datasets/s2looking_512.py',
    '../_base_/schedules/cd_80k.py',
]
