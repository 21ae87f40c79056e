# BigEarthNet from the LMDB of tools/dataset_converters/bigearthnet_to_lmdb.py; B04, B03, B02 at
# 120 x 120 without augmentation, as published for OML.
data_root = 'data/BigEarthNet'
num_classes = 19

pipeline = [
    dict(type='LoadBigEarthNetPatch', bands='rgb'),
    dict(type='NormalizeBigEarthNet'),
    dict(type='PackEmbeddingInputs'),
]
dataset = dict(
    type='BigEarthNetDataset',
    data_root=data_root,
    lmdb_path='lmdb',
    num_classes=num_classes,
    pipeline=pipeline,
)

train_dataloader = dict(
    batch_size=300,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='rs_mm.stack_collate'),
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file='lmdb/splits/train.csv', **dataset),
)
# the published code passes the two evaluation lists in the wrong order: its `test` figures come
# from the validation list. To test on the test list, exchange the two `ann_file`
val_dataloader = dict(
    batch_size=300,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='rs_mm.stack_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='lmdb/splits/test.csv', test_mode=True, **dataset),
)
test_dataloader = dict(
    batch_size=300,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='rs_mm.stack_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='lmdb/splits/val.csv', test_mode=True, **dataset),
)

val_evaluator = dict(type='MultiLabelRetrievalMetric')
test_evaluator = dict(type='MultiLabelRetrievalMetric')

visualizer = dict(
    type='MultiLabelVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer'
)
