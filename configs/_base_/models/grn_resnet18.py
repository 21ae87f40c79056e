# Encoder up to the global average pool, a linear layer to 128 dimensions, unit length. The losses
# (and the classifier of SNDL-BCE) are the experiment's.
model = dict(
    type='ImageEmbedder',
    encoder=dict(type='TimmEncoder', model='resnet18',
                 init_cfg=dict(type='Pretrained', checkpoint='timm')),
    head=dict(type='GRNHead', embed_dims=128))
