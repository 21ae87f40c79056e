# DSQNet with Swin-T. decode_head.channels is the width of the head (128 or 64).
data_preprocessor = dict(
    type='ChangeDataPreprocessor',
    mean=[123.675, 116.28, 103.53] * 2,
    std=[58.395, 57.12, 57.375] * 2,
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size_divisor=32,
    test_cfg=dict(size_divisor=32),
)

model = dict(
    type='SiamEncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone_inchannels=3,
    backbone=dict(
        type='SwinTransformer',
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/swin_tiny_patch4_window7_224.pth'),
    ),
    neck=dict(type='FeatureFusionNeck', policy='concat'),
    decode_head=dict(
        type='DSQNetHead',
        in_channels=[96, 192, 384, 768],
        channels=128,
        dsp=dict(type='DSP'),
        bmq=dict(type='BMQ'),
        num_classes=2,
        dropout_ratio=0.1,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        sampler=dict(type='mmseg.OHEMPixelSampler', thresh=0.7, min_kept=100000),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(256, 256)),
)

tta_model = dict(type='SegTTAModel')
