# DSIFN: {train,val,test}/{t1,t2,mask}; labels 0 and 1, as TIFF in the test split
_base_ = './cd_256.py'

dataset_type = 'DSIFN_Dataset'
data_root = 'data/DSIFN'

train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path_from='train/t1', img_path_to='train/t2', seg_map_path='train/mask'
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path_from='val/t1', img_path_to='val/t2', seg_map_path='val/mask'),
    )
)
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        seg_map_suffix='.tif',
        data_prefix=dict(img_path_from='test/t1', img_path_to='test/t2', seg_map_path='test/mask'),
    )
)
