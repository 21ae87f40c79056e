_base_ = './sndl_resnet18_256_130e_aid.py'

model = dict(encoder=dict(model='resnet50', init_cfg=dict(checkpoint='timm/resnet50.tv_in1k')))
