# 80,000 iterations: linear warm-up over the first 1,000, then linear decay to 0.
# Weight decay on every parameter, norms and biases too, as published.
_base_ = '../default_runtime.py'

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=1000, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1000, end=80000, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    checkpoint=dict(save_best='mIoU', rule='greater'), class_check=dict(type='ClassCheckHook')
)
# attention and heads use TF32 products; a mask does not depend on their last bits
torch_cfg = dict(tf32=dict(products=True))
# for `tools/train.py --auto-scale-lr`
auto_scale_lr = dict(enable=False, base_batch_size=8)
