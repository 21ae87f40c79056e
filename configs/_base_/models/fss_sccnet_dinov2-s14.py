# SCCNet on the last six blocks of a frozen DINOv2 ViT-S/14, two maps per group
_base_ = './fss_sccnet_resnet50.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TokenMapBackbone',
        arch='vit_small_patch14_dinov2',
        init_cfg=dict(type='Pretrained', checkpoint='timm'),
    ),
    head=dict(in_channels=(2, 2, 2)),
)
