# ResNet-152 with IBN-a norms; weights of IBN-Net in timm's names.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(
    encoder=dict(
        model='resnet152', ibn=True, init_cfg=dict(checkpoint='data/weights/resnet152_ibn_a.pth')
    )
)
