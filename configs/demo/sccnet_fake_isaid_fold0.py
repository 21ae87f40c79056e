# Learns episodes of held-out classes in minutes on a CPU, from a random backbone:
#   python tools/dataset_converters/make_fake.py isaid_5i data/demo/isaid_5i --set size=128
#   python tools/train.py configs/demo/sccnet_fake_isaid_fold0.py
_base_ = '../sccnet/sccnet_resnet50_256_200k_isaid_fold0.py'

data_root = 'data/demo/isaid_5i'
pipeline = [
    dict(type='LoadEpisode'),
    dict(type='ResizeEpisode', size=128),
    dict(type='PackEpisode'),
]
dataset = dict(data_root=data_root, list_dir=data_root + '/lists', pipeline=pipeline)
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dataset)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dataset)
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dataset)
model = dict(backbone=dict(arch='resnet18', init_cfg=None), head=dict(in_channels=(2, 2, 2)))
# Adam, because a few minutes are too short for the published rate
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3, fused=True)
)
param_scheduler = [dict(type='CountedPolyLR', power=0.9, end=240)]
train_cfg = dict(max_iters=240, val_interval=60)
custom_hooks = None
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=60))
