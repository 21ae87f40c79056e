# What the sets of GRN share: 256 x 256 pixels, the published augmentation and batches. A data set
# is named by the config that inherits.
image_size = 256

normalize = dict(
    type='NormalizeBands', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

train_pipeline = [
    dict(type='LoadBandImage', num_bands=3),
    dict(type='TorchvisionTransforms', ops=[
        dict(type='Resize', size=(image_size, image_size)),
        dict(type='RandomGrayscale', p=0.2),
        dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4),
        dict(type='RandomHorizontalFlip', p=0.5),
    ]),
    dict(type='ScaleBands'),
    normalize,
    dict(type='PackEmbeddingInputs'),
]
test_pipeline = [
    dict(type='LoadBandImage', num_bands=3),
    dict(type='TorchvisionTransforms', ops=[
        dict(type='Resize', size=(image_size, image_size))]),
    dict(type='ScaleBands'),
    normalize,
    dict(type='PackEmbeddingInputs'),
]

train_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='MultiLabelDataset', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='MultiLabelDataset', pipeline=test_pipeline, test_mode=True))
test_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='MultiLabelDataset', pipeline=test_pipeline, test_mode=True))

visualizer = dict(type='MultiLabelVisualizer', vis_backends=[dict(type='LocalVisBackend')],
                  name='visualizer')
