_base_ = [
    '../_base_/datasets/fss_dlrsd_5i_fold0.py',
    '../_base_/models/fss_sccnet_resnet50.py',
    '../_base_/schedules/fss_sgd_poly_200k.py',
]
