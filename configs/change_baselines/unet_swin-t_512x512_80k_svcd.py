_base_ = './unet_r50_512x512_80k_svcd.py'

model = dict(
    backbone=dict(
        model='swin_tiny_patch4_window7_224',
        init_cfg=dict(checkpoint='timm/swin_tiny_patch4_window7_224.ms_in1k'),
    )
)
