# SVCD: {train,val,test}/{A,B,OUT}/*.jpg
_base_ = './cd_512.py'

dataset_type = 'SVCD_Dataset'
data_root = 'data/SVCD'

# The tiles have 256 pixels, and the paper gives 512 for this dataset, so both dates are enlarged.
# The original config of the training is not published.
scale = (512, 512)
resize = dict(type='MultiImgResize', scale=scale, keep_ratio=True)
train_pipeline = [*_base_.train_pipeline[:2], resize, *_base_.train_pipeline[2:]]
test_pipeline = [
    resize if step['type'] == 'MultiImgResize' else step for step in _base_.test_pipeline
]

tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='MultiImgResize', scale_factor=2 * factor, keep_ratio=True)
                for factor in (0.75, 1.0, 1.25)
            ],
            *_base_.tta_pipeline[1]['transforms'][1:],
        ],
    ),
]

train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        pipeline=train_pipeline,
        data_prefix=dict(img_path_from='train/A', img_path_to='train/B', seg_map_path='train/OUT'),
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        pipeline=test_pipeline,
        data_prefix=dict(img_path_from='val/A', img_path_to='val/B', seg_map_path='val/OUT'),
    )
)
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        pipeline=test_pipeline,
        data_prefix=dict(img_path_from='test/A', img_path_to='test/B', seg_map_path='test/OUT'),
    )
)
