# The published OML model: ResNet-50, no attention, max pooling, one branch. `num_classes` and the
# losses are set by the experiment.
model = dict(
    type='ImageEmbedder',
    encoder=dict(
        type='TimmEncoder',
        model='resnet50',
        dilate='first',
        init_cfg=dict(type='Pretrained', checkpoint='timm/resnet50.tv_in1k'),
    ),
    head=dict(type='EmbeddingHead', pool=dict(type='GlobalPool', mode='max')),
)
