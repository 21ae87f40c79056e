_base_ = './sndl_resnet18_256_130e_aid.py'

model = dict(
    encoder=dict(model='wide_resnet50_2', init_cfg=dict(checkpoint='timm/wide_resnet50_2.tv_in1k'))
)
