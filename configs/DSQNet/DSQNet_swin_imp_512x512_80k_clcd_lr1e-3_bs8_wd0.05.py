_base_ = [
    '../_base_/models/dsqnet_swin.py',
    '../_base_/datasets/clcd_512.py',
    '../_base_/schedules/cd_80k_lr1e-3.py',
]
