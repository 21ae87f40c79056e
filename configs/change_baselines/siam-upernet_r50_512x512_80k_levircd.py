_base_ = [
    '../_base_/models/cd_siam_upernet.py',
    '../_base_/datasets/levircd_512.py',
    '../_base_/schedules/cd_80k.py',
]
