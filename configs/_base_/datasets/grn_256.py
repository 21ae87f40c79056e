# What the sets of GRN share: 256 x 256 pixels, the published augmentation, batches and score. The
# inheriting config names the dataset.
image_size = 256

normalize = dict(type='NormalizeBands', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
resize = dict(
    type='TorchvisionTransforms', ops=[dict(type='Resize', size=(image_size, image_size))]
)

train_pipeline = [
    dict(type='LoadBandImage', num_bands=3),
    resize,
    dict(type='RandomColour', grey=0.2, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4),
    dict(type='RandomFlipRotateBands', hflip=0.5, one_of=False),
    dict(type='ScaleBands'),
    normalize,
    dict(type='PackEmbeddingInputs'),
]
test_pipeline = [
    dict(type='LoadBandImage', num_bands=3),
    resize,
    dict(type='ScaleBands'),
    normalize,
    dict(type='PackEmbeddingInputs'),
]

train_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='rs_mm.stack_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='MultiLabelDataset', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='rs_mm.stack_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='MultiLabelDataset', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='rs_mm.stack_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='MultiLabelDataset', pipeline=test_pipeline, test_mode=True),
)

visualizer = dict(
    type='MultiLabelVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer'
)
val_evaluator = dict(type='KNNMetric', k=10)
test_evaluator = [dict(type='KNNMetric', k=10), dict(type='MultiLabelRetrievalMetric')]
