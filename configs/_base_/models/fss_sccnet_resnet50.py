# SCCNet; the backbone has the ImageNet weights of torchvision (IMAGENET1K_V1) and is frozen
model = dict(
    type='FewShotSegmentor',
    data_preprocessor=dict(type='FewShotDataPreprocessor'),
    backbone=dict(
        type='PreActivationBackbone',
        arch='resnet50',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    head=dict(type='SelfCrossCorrelationHead', in_channels=(4, 6, 3), guided_weight=1.0),
    vote_threshold=0.4,
)
