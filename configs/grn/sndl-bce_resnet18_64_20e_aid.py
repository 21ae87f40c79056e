# A small experiment for a CPU: 64 x 64 pixels, from scratch, 20 epochs.
_base_ = './sndl-bce_resnet18_256_130e_aid.py'

resize = dict(type='TorchvisionTransforms', ops=[dict(type='Resize', size=(64, 64))])
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(pipeline=[_base_.train_pipeline[0], resize, *_base_.train_pipeline[2:]]),
)
test_pipeline = [_base_.test_pipeline[0], resize, *_base_.test_pipeline[2:]]
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))

# torchvision's initialisation, as published; timm's would start each residual block at 0
model = dict(encoder=dict(init_cfg=None, timm_args=dict(zero_init_last=False)))
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[15], gamma=0.1, by_epoch=True)
train_cfg = dict(max_epochs=20, val_interval=5)
custom_hooks = [dict(type='FeatureBankHook', momentum=[(0, 0.5)]), dict(type='KNNReferenceHook')]
