# CLIP's two towers. The plain name of an architecture means GELU, as in the published results.
model = dict(
    type='ComposedRetriever',
    arch='ViT-L-14',
    precision='fp32',
    init_cfg=dict(type='Pretrained', checkpoint='models/CLIP-ViT-L-14.bin'),
)
