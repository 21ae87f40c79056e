# What small networks on small pairs train with on a CPU in seconds: no validation, and the last
# weights are tested.
_base_ = './cd_80k.py'

iterations = 100
optim_wrapper = dict(
    optimizer=dict(lr=2e-3), paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=5)))
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=10, by_epoch=False),
    dict(type='PolyLR', power=1.0, begin=10, end=iterations, by_epoch=False),
]
train_cfg = dict(max_iters=iterations, val_interval=10 * iterations)
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(
        _delete_=True, type='CheckpointHook', by_epoch=False, interval=iterations, max_keep_ckpts=1
    ),
)
auto_scale_lr = dict(base_batch_size=4)
