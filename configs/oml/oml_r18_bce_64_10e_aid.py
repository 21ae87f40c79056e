# A ResNet-18 from random weights on the 3,000 AID images with multi-labels at 64 x 64 pixels, a few
# minutes on a CPU, with BCE alone. The split is GRN's seeded 2,100 / 300 / 600; images are in one
# folder per scene.
_base_ = ['../_base_/datasets/ml_256.py', '../_base_/schedules/oml_adam.py']

data_root = 'data/AID'
num_classes = 17
train_pipeline = [
    dict(type='LoadBandImage', num_bands=3),
    dict(type='ResizeBands', size=64, interpolation='area'),
    dict(type='ScaleBands'),
    dict(type='RandomFlipRotateBands'),
    dict(type='RandomPhotometricBands'),
    _base_.normalize,
    dict(type='PackEmbeddingInputs'),
]
test_pipeline = [
    dict(type='LoadBandImage', num_bands=3),
    dict(type='ResizeBands', size=64, interpolation='area'),
    dict(type='ScaleBands'),
    _base_.normalize,
    dict(type='PackEmbeddingInputs'),
]
dataset = dict(
    _delete_=True, type='MultiLabelDataset', data_root=data_root, img_dirs='*', label_table='aid'
)
loader = dict(num_workers=1, persistent_workers=True)
train_dataloader = dict(
    dataset=dict(
        split=dict(type='SceneSplit', subset='train', expected=3000),
        pipeline=train_pipeline,
        **dataset,
    ),
    **loader,
)
val_dataloader = dict(
    dataset=dict(
        split=dict(type='SceneSplit', subset='val', expected=3000),
        pipeline=test_pipeline,
        test_mode=True,
        **dataset,
    ),
    **loader,
)
test_dataloader = dict(
    dataset=dict(
        split=dict(type='SceneSplit', subset='test', expected=3000),
        pipeline=test_pipeline,
        test_mode=True,
        **dataset,
    ),
    **loader,
)

model = dict(
    type='ImageEmbedder',
    encoder=dict(type='TimmEncoder', model='resnet18'),
    head=dict(type='EmbeddingHead', num_classes=num_classes),
    losses=[dict(type='MultiLabelBCELoss')],
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(
    _delete_=True, type='CosineAnnealingLR', T_max=10, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(max_epochs=10, val_interval=10)
# the validation list has 60 queries and 240 other images
default_hooks = dict(checkpoint=dict(interval=10))
