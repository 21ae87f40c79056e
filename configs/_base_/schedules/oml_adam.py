# Adam at 1e-4 without weight decay; the rate shrinks by exp(-0.01) after every epoch. Experiments
# set `train_cfg.max_epochs`.
_base_ = '../default_runtime.py'

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4, fused=True))
param_scheduler = dict(type='ExponentialLR', gamma=0.9900498337491681, by_epoch=True)

train_cfg = dict(type='EpochBasedTrainLoop', val_interval=20)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=True),
    checkpoint=dict(by_epoch=True, interval=20, max_keep_ckpts=3),
    visualization=dict(type='RetrievalVisualizationHook'),
)
log_processor = dict(by_epoch=True)
randomness = dict(seed=24)
