# A handful of pairs of 256 x 256 pixels in {A,B,label}/*.png, all of them in one folder: which of
# them train and which are tested is said by lists (`ann_file`). Small crops, for a CPU.
_base_ = './cd_256.py'

data_root = 'data/pairs'
crop_size = (64, 64)
pairs = dict(
    type='ChangeDetectionDataset',
    data_root=data_root,
    data_prefix=dict(img_path_from='A', img_path_to='B', seg_map_path='label'),
)
train_pipeline = [
    dict(type='KeepInMemory', transforms=_base_.train_pipeline[:2]),
    *[
        dict(step, crop_size=crop_size) if step['type'] == 'MultiImgRandomCrop' else step
        for step in _base_.train_pipeline[2:]
    ],
]

train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(ann_file='train.txt', pipeline=train_pipeline, **pairs),
)
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(ann_file='test.txt', **pairs)
)
test_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(ann_file='test.txt', **pairs)
)
