# S2Looking in the folders of the published config; {Image1,Image2,label} are found as well.
_base_ = './cd_512.py'

dataset_type = 'S2Looking_Dataset'
data_root = 'data/S2Looking'

train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path_from='train/A', img_path_to='train/B', seg_map_path='train/OUT'),
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path_from='val/Image1', img_path_to='val/Image2', seg_map_path='val/label'
        ),
    )
)
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path_from='test/A', img_path_to='test/B', seg_map_path='test/OUT'),
    )
)
