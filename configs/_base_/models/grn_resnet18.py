# An encoder with torchvision's ImageNet weights, as published, up to the global average pool; a
# linear layer to 128 dimensions, scaled to unit length. The experiment sets the losses and, for
# SNDL-BCE, the classifier.
model = dict(
    type='ImageEmbedder',
    encoder=dict(
        type='TimmEncoder',
        model='resnet18',
        init_cfg=dict(type='Pretrained', checkpoint='timm/resnet18.tv_in1k'),
    ),
    head=dict(type='GRNHead', embed_dims=128),
)
