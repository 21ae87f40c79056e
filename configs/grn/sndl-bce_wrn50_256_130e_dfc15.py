_base_ = './sndl-bce_resnet18_256_130e_dfc15.py'

model = dict(
    encoder=dict(model='wide_resnet50_2', init_cfg=dict(checkpoint='timm/wide_resnet50_2.tv_in1k'))
)
