# ResNet-50 with IBN-a norms; the weights of IBN-Net with timm's parameter names.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(
    encoder=dict(
        model='resnet50', ibn=True, init_cfg=dict(checkpoint='data/weights/resnet50_ibn_a.pth')
    )
)
