_base_ = '../default_runtime.py'

# The published run: SGD, 10 x lr for weights and 20 x for biases, poly 0.9 over 200,000 steps
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='WeightBiasOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=9e-4, momentum=0.9, weight_decay=5e-4, fused=True),
    paramwise_cfg=dict(multipliers=(1, 2, 10, 20)),
)
param_scheduler = [dict(type='CountedPolyLR', power=0.9, end=200000)]

# the original validates after each epoch: some 600 iterations on iSAID-5i, 100 on DLRSD-5i
train_cfg = dict(type='IterBasedTrainLoop', max_iters=200000, val_interval='epoch')
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# the original counts validation batches as steps; without this hook all 200,000 steps train
custom_hooks = [dict(type='CountValidationHook')]
default_hooks = dict(
    checkpoint=dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=600,
        max_keep_ckpts=1,
        save_best='mIoU',
        rule='greater',
    )
)
auto_scale_lr = dict(enable=False, base_batch_size=32)
visualizer = dict(type='FewShotVisualizer')
