# 130 epochs of Nesterov SGD from 0.1, halved every 30; the memory's momentum is 0.5, 0.8 from
# epoch 80 and 0.9 from epoch 120. Validated and saved after every epoch.
_base_ = '../default_runtime.py'

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True),
)
param_scheduler = dict(type='StepLR', step_size=30, gamma=0.5, by_epoch=True)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=130, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=True),
    checkpoint=dict(
        by_epoch=True, interval=1, max_keep_ckpts=1, save_best='knn/f1_sample', rule='greater'
    ),
    visualization=dict(type='EmbeddingVisualizationHook'),
)
custom_hooks = [
    dict(type='FeatureBankHook', momentum=[(0, 0.5), (80, 0.8), (120, 0.9)]),
    dict(type='KNNReferenceHook'),  # KNN searches the memory
]
log_processor = dict(by_epoch=True)
# for `tools/train.py --auto-scale-lr`
auto_scale_lr = dict(enable=False, base_batch_size=256)
