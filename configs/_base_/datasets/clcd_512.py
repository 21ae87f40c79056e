# CLCD: {train,val,test}/{time1,time2,label}/*.png
_base_ = './cd_512.py'

dataset_type = 'CLCD_Dataset'
data_root = 'data/CLCD'

# the size of the images
test_pipeline = [
    dict(step, scale=(512, 512)) if step['type'] == 'MultiImgResize' else step
    for step in _base_.test_pipeline
]

train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path_from='train/time1', img_path_to='train/time2', seg_map_path='train/label'
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        pipeline=test_pipeline,
        data_prefix=dict(
            img_path_from='val/time1', img_path_to='val/time2', seg_map_path='val/label'
        ),
    )
)
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        pipeline=test_pipeline,
        data_prefix=dict(
            img_path_from='test/time1', img_path_to='test/time2', seg_map_path='test/label'
        ),
    )
)
