# Learns the labels of generated images in a few minutes on a CPU. Make them first:
#   python tools/dataset_converters/make_fake.py dfc15 data/demo_dfc15 --set images=900 size=48
_base_ = [
    '../_base_/models/grn_resnet18.py',
    '../_base_/datasets/grn_dfc15.py',
    '../_base_/schedules/grn_130e.py',
]

data_root = 'data/demo_dfc15'
num_images = 630  # int(0.7 * 900)
dataset = dict(data_root=data_root, split=dict(expected=900))
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(
        pipeline=[
            _base_.train_pipeline[0],
            dict(type='RandomColour', grey=0, hue=0.02),  # colours tell the generated classes apart
            *_base_.train_pipeline[3:],
        ],
        **dataset,
    ),
)
test_pipeline = [_base_.test_pipeline[0], *_base_.test_pipeline[2:]]
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline, **dataset))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline, **dataset))

model = dict(
    encoder=dict(init_cfg=None),
    head=dict(num_classes=_base_.num_classes),
    losses=[
        dict(
            type='SNDLoss',
            temperature=0.05,
            memory=dict(
                type='FeatureBank', size=num_images, dim=128, num_classes=_base_.num_classes
            ),
        ),
        dict(type='MultiLabelBCELoss'),
    ],
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[10], gamma=0.1, by_epoch=True)
train_cfg = dict(max_epochs=12, val_interval=4)
# KNN searches the training images, embedded again for the test; so an untrained model has a score
# too
reference = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='MultiLabelDataset',
        data_root=data_root,
        img_dirs='Images',
        label_table='dfc15',
        pipeline=test_pipeline,
        test_mode=True,
        split=dict(type='SceneSplit', subset='train', by_folder=False),
    ),
)
custom_hooks = [
    dict(type='FeatureBankHook', momentum=[(0, 0.5)]),
    dict(type='KNNReferenceHook', dataloader=reference),
]
