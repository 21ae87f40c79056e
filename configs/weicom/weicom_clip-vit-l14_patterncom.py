_base_ = [
    '../_base_/models/weicom_clip_vit-l14.py',
    '../_base_/datasets/weicom_patterncom.py',
    '../_base_/schedules/weicom_test.py',
]
