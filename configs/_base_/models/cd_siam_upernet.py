# A siamese encoder, the difference of its stages, and UPerHead (Xiao et al. 2018). The policy of
# the neck may also be "concat"; the head's channels follow.
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
        type='TimmEncoder',
        model='resnet50',
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint='timm/resnet50.tv_in1k'),
    ),
    neck=dict(type='FeatureFusionNeck', policy='abs_diff'),
    decode_head=dict(
        type='mmseg.UPerHead',
        in_index=[0, 1, 2, 3],
        channels=512,
        num_classes=2,
        out_channels=2,
        pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.1,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(256, 256)),
)

tta_model = dict(type='SegTTAModel')
