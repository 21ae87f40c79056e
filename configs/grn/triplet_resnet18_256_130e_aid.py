_base_ = './contrastive_resnet18_256_130e_aid.py'

model = dict(losses=[dict(type='SquaredTripletLoss', margin=0.5)])
