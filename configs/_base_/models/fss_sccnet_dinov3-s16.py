# SCCNet on the last six blocks of a frozen DINOv3 ViT-S/16, two maps per group
_base_ = './fss_sccnet_dinov2-s14.py'

model = dict(backbone=dict(arch='vit_small_patch16_dinov3'))
