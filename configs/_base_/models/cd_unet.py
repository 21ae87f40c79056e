# A U-Net that sees both dates as the bands of one image: the plain baseline of the "Change
# Detection Reality Check" (Corley et al. 2024). Its encoder's first layer has the RGB filters for
# date 1 and their mean for the bands of date 2.
_base_ = './cd_siam_upernet.py'

model = dict(
    early_fusion=True,
    backbone=dict(in_channels=6),
    neck=None,
    decode_head=dict(
        _delete_=True,
        type='UNetHead',
        channels=64,
        num_classes=2,
        out_channels=2,
        dropout_ratio=0.1,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
