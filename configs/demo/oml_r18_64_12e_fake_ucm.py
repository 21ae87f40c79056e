# A ResNet-18 learns to retrieve by shapes and colours in two minutes on a CPU:
#   python tools/dataset_converters/make_fake.py ucm data/fake_ucm --set images=700
_base_ = ['../_base_/datasets/ucm_ml.py', '../_base_/schedules/oml_adam.py']

data_root = 'data/fake_ucm'
train_pipeline = [
    dict(type='LoadBandImage', num_bands=3),
    dict(type='ScaleBands'),
    dict(type='RandomFlipRotateBands'),
    _base_.normalize,
    dict(type='PackEmbeddingInputs'),
]
test_pipeline = [
    dict(type='LoadBandImage', num_bands=3),
    dict(type='ScaleBands'),
    _base_.normalize,
    dict(type='PackEmbeddingInputs'),
]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(
    batch_size=32, dataset=dict(data_root=data_root, pipeline=train_pipeline), **loader
)
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline), **loader)
test_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline), **loader)

model = dict(
    type='ImageEmbedder',
    encoder=dict(type='TimmEncoder', model='resnet18'),
    head=dict(type='EmbeddingHead', num_classes=_base_.num_classes, embed_dims=128),
    losses=[dict(type='MultiLabelBCELoss'), dict(type='OMLLoss')],
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=12, val_interval=4)
val_evaluator = dict(at=[10, 20], shared_at=[1, 5])
test_evaluator = dict(
    at=[10, 20],
    shared_at=[1, 5],
    rerank=[dict(type='AverageQE', k=5), dict(type='AlphaQE', k=5, alpha=3)],
)
default_hooks = dict(checkpoint=dict(interval=4))
