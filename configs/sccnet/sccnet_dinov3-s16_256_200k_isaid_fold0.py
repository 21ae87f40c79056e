_base_ = [
    '../_base_/datasets/fss_isaid_5i_fold0.py',
    '../_base_/models/fss_sccnet_dinov3-s16.py',
    '../_base_/schedules/fss_sgd_poly_200k.py',
]
