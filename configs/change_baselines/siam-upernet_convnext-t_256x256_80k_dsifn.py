_base_ = './siam-upernet_r50_256x256_80k_dsifn.py'

model = dict(
    backbone=dict(
        model='convnext_tiny',
        init_cfg=dict(checkpoint='timm/convnext_tiny.fb_in1k'),
    )
)
