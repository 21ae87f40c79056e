# A ResNet-18 on ten bands of generated BigEarthNet patches, a few minutes on a CPU:
#   python tools/dataset_converters/make_fake.py bigearthnet_v1 data/fake_ben/v1 --set patches=700
#   python tools/dataset_converters/bigearthnet_to_lmdb.py data/fake_ben/v1 data/fake_ben/lmdb \
#       --splits data/fake_ben/splits/{train,val,test}.csv
_base_ = ['../_base_/datasets/bigearthnet_10band_ml.py', '../_base_/schedules/oml_adam.py']

data_root = 'data/fake_ben'
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(batch_size=32, dataset=dict(data_root=data_root), **loader)
val_dataloader = dict(batch_size=64, dataset=dict(data_root=data_root), **loader)
test_dataloader = dict(batch_size=64, dataset=dict(data_root=data_root), **loader)

model = dict(
    type='ImageEmbedder',
    encoder=dict(type='TimmEncoder', model='resnet18', in_channels=_base_.in_channels),
    head=dict(type='EmbeddingHead', num_classes=_base_.num_classes, embed_dims=128),
    losses=[dict(type='MultiLabelBCELoss'), dict(type='OMLLoss')],
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=8, val_interval=4)
val_evaluator = dict(at=[10, 20], shared_at=[1, 5])
test_evaluator = dict(at=[10, 20], shared_at=[1, 5])
default_hooks = dict(checkpoint=dict(interval=4), visualization=dict(bands=(2, 1, 0)))
