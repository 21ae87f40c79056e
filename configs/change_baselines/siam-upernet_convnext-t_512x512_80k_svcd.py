_base_ = './siam-upernet_r50_512x512_80k_svcd.py'

model = dict(
    backbone=dict(
        model='convnext_tiny',
        init_cfg=dict(checkpoint='timm/convnext_tiny.fb_in1k'),
    )
)
