# DSQNet at the size of the demo on a handful of pairs; see tools/benchmarks/change_pairs.py.
_base_ = [
    '../_base_/models/dsqnet_swin.py',
    '../_base_/datasets/cd_small_pairs.py',
    '../_base_/schedules/cd_small.py',
]

model = dict(
    backbone=dict(
        embed_dims=32,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 4, 8],
        drop_path_rate=0.1,
        init_cfg=None,
    ),
    decode_head=dict(in_channels=[32, 64, 128, 256], channels=64),
    test_cfg=dict(crop_size=(64, 64), stride=(48, 48)),
)
