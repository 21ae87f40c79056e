_base_ = './contrastive_resnet18_256_130e_aid.py'

model = dict(head=dict(num_classes=_base_.num_classes), losses=[dict(type='WARPLoss')])
