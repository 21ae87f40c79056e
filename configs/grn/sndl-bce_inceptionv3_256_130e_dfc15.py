_base_ = './sndl-bce_resnet18_256_130e_dfc15.py'

model = dict(
    encoder=dict(model='inception_v3', init_cfg=dict(checkpoint='timm/inception_v3.tv_in1k'))
)
