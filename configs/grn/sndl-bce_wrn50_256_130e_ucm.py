_base_ = './sndl-bce_resnet18_256_130e_ucm.py'

model = dict(encoder=dict(model='wide_resnet50_2'))
