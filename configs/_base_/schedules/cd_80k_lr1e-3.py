# As cd_80k.py, with ten times the learning rate and five times the weight decay. The official
# repository trains other networks with these values on LEVIR-CD and CLCD.
_base_ = './cd_80k.py'

optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05))
