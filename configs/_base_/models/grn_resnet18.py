# Encoder with torchvision's ImageNet weights, as published, up to the global average pool, a linear
# layer to 128 dimensions, unit length. Losses and SNDL-BCE's classifier are the experiment's.
model = dict(
    type='ImageEmbedder',
    encoder=dict(
        type='TimmEncoder',
        model='resnet18',
        init_cfg=dict(type='Pretrained', checkpoint='timm/resnet18.tv_in1k'),
    ),
    head=dict(type='GRNHead', embed_dims=128),
)
