# What UCM, AID and WHDLD share: 256 x 256 pixels by area averaging, as published for OML.
image_size = 256

# `reverse_statistics`: the published runs normalise red with blue's statistics and blue with red's;
# remove this line to use each band's own
normalize = dict(
    type='NormalizeBands',
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    reverse_statistics=True,
)

train_pipeline = [
    dict(type='LoadBandImage', num_bands=3),
    dict(type='ResizeBands', size=image_size, interpolation='area'),
    dict(type='ScaleBands'),
    dict(type='RandomFlipRotateBands'),
    dict(type='RandomPhotometricBands'),
    normalize,
    dict(type='PackEmbeddingInputs'),
]
test_pipeline = [
    dict(type='LoadBandImage', num_bands=3),
    dict(type='ResizeBands', size=image_size, interpolation='area'),
    dict(type='ScaleBands'),
    normalize,
    dict(type='PackEmbeddingInputs'),
]

train_dataloader = dict(
    batch_size=72,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='rs_mm.stack_collate'),
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='MultiLabelDataset', ann_file='train.csv', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=72,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='rs_mm.stack_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='MultiLabelDataset', ann_file='val.csv', pipeline=test_pipeline, test_mode=True
    ),
)
test_dataloader = dict(
    batch_size=72,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='rs_mm.stack_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='MultiLabelDataset', ann_file='test.csv', pipeline=test_pipeline, test_mode=True
    ),
)

val_evaluator = dict(type='MultiLabelRetrievalMetric')
test_evaluator = dict(type='MultiLabelRetrievalMetric')

visualizer = dict(
    type='MultiLabelVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer'
)
