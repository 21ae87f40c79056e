_base_ = './unet_r50_256x256_80k_dsifn.py'

model = dict(
    backbone=dict(
        model='swin_tiny_patch4_window7_224',
        init_cfg=dict(checkpoint='timm/swin_tiny_patch4_window7_224.ms_in1k'),
    )
)
