# WHU-CD's length in the official repository: 100 epochs of 744 batches, of which the first 1,500
# warm up; validated every 5 epochs. The rest is as in cd_80k.py.
_base_ = './cd_80k.py'

iterations = 74400
interval = iterations // 20

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=1500, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1500, end=iterations, by_epoch=False),
]
train_cfg = dict(max_iters=iterations, val_interval=interval)
default_hooks = dict(checkpoint=dict(interval=interval))
