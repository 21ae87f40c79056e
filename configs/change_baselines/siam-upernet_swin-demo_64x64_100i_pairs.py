# The encoder and the schedule of DSQNet_swin-demo_64x64_100i_pairs.py.
_base_ = [
    '../_base_/models/cd_siam_upernet.py',
    '../_base_/datasets/cd_small_pairs.py',
    '../_base_/schedules/cd_small.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        embed_dims=32,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 4, 8],
        drop_path_rate=0.1,
    ),
    decode_head=dict(channels=64),
    test_cfg=dict(crop_size=(64, 64), stride=(48, 48)),
)
