_base_ = './sndl-bce_resnet18_256_130e_dfc15.py'

model = dict(encoder=dict(model='resnet50', init_cfg=dict(checkpoint='timm/resnet50.tv_in1k')))
