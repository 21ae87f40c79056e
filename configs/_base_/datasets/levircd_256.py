# LEVIR-CD: {train,val,test}/{A,B,label}/*.png
_base_ = './cd_256.py'

dataset_type = 'LEVIR_CD_Dataset'
data_root = 'data/LEVIR-CD'

train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path_from='train/A', img_path_to='train/B', seg_map_path='train/label'
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path_from='val/A', img_path_to='val/B', seg_map_path='val/label'),
    )
)
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path_from='test/A', img_path_to='test/B', seg_map_path='test/label'),
    )
)
