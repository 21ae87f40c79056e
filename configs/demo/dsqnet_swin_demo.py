# The published LEVIR-CD experiment, small enough to learn generated pairs from random weights in
# two minutes on two CPU cores (tools/demo.sh).
_base_ = '../DSQNet/DSQNet_swin_imp_512x512_80k_levircd_lr1e-4_bs8_wd0.01.py'

data_root = 'data/demo_levir_cd'
crop_size = (64, 64)
iterations = 600

model = dict(
    backbone=dict(
        embed_dims=32,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 4, 8],
        drop_path_rate=0.1,
        init_cfg=None,
    ),
    decode_head=dict(in_channels=[32, 64, 128, 256], channels=64),
    test_cfg=dict(crop_size=crop_size, stride=(48, 48)),
)

train_pipeline = [
    dict(step, crop_size=crop_size) if step['type'] == 'MultiImgRandomCrop' else step
    for step in _base_.train_pipeline
]
# the images are 256 x 256 and are not resized
test_pipeline = [step for step in _base_.test_pipeline if step['type'] != 'MultiImgResize']

train_dataloader = dict(num_workers=0, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=0, batch_size=4, dataset=dict(data_root=data_root, pipeline=test_pipeline)
)
test_dataloader = dict(
    num_workers=0, batch_size=4, dataset=dict(data_root=data_root, pipeline=test_pipeline)
)

# the head starts from small random values and needs a higher rate to leave them
optim_wrapper = dict(
    optimizer=dict(lr=2e-3), paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=5)))
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=30, by_epoch=False),
    dict(type='PolyLR', power=1.0, begin=30, end=iterations, by_epoch=False),
]
train_cfg = dict(max_iters=iterations, val_interval=iterations // 2)
default_hooks = dict(
    logger=dict(interval=50), checkpoint=dict(interval=iterations // 2, save_best='F1_changed')
)
