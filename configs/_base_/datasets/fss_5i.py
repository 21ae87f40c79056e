# What every few-shot set shares: 1-shot episodes at 256 x 256. The config of a dataset gives type,
# folder and fold. For 5 shots set test_dataloader.dataset.shots=5
pipeline = [
    dict(type='LoadEpisode'),
    dict(type='ResizeEpisode', size=256),
    dict(type='PackEpisode'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(split='trn', shots=1, pipeline=pipeline),
)
# test_mode: the episodes are fixed by `seed`
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        split='val',
        shots=1,
        seed=0,
        test_mode=True,
        pipeline=pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='FewShotMetric')
test_evaluator = val_evaluator
