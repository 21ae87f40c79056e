# A comparison of losses and encoders under one short schedule (tools/benchmarks/aid_encoders.py):
# KNN against the training images, retrieval, and the classifier where there is one. BCE alone.
_base_ = './oml_r18_bce_64_10e_aid.py'

epochs = 2
load = dict(type='KeepInMemory', transforms=_base_.train_pipeline[:2])
in_process = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(
    dataset=dict(pipeline=[load, *_base_.train_pipeline[2:]]), batch_size=64, **in_process
)
val_dataloader = dict(in_process)
test_dataloader = dict(dataset=dict(pipeline=[load, *_base_.test_pipeline[2:]]), **in_process)

reference = dict(
    _base_.test_dataloader,
    dataset=dict(
        _base_.test_dataloader.dataset,
        split=dict(type='SceneSplit', subset='train', expected=3000),
    ),
    **in_process,
)
custom_hooks = [dict(type='KNNReferenceHook', dataloader=reference)]
test_evaluator = [dict(type='KNNMetric', k=10), dict(type='MultiLabelRetrievalMetric')]

# torchvision's initial weights: timm's own would start each residual block at 0
model = dict(encoder=dict(timm_args=dict(zero_init_last=False)))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=epochs, val_interval=epochs + 1)
default_hooks = dict(checkpoint=dict(interval=epochs, max_keep_ckpts=1))
