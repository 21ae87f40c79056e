# WHU-CD in tiles of 256: {A,B,label} and list/{train,val,test}.txt
_base_ = './cd_256.py'

dataset_type = 'WHU_CD_Dataset'
data_root = 'data/WHU-CD'

train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='list/train.txt',
        data_prefix=dict(img_path_from='A', img_path_to='B', seg_map_path='label'),
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='list/val.txt',
        data_prefix=dict(img_path_from='A', img_path_to='B', seg_map_path='label'),
    )
)
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='list/test.txt',
        data_prefix=dict(img_path_from='A', img_path_to='B', seg_map_path='label'),
    )
)
