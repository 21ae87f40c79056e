# The vision transformer of ../oml/oml_vit_bce_64_2e_aid.py.
_base_ = './sndl-bce_resnet18_64_2e_aid.py'
model = dict(
    encoder=dict(
        model='vit_tiny_patch16_224',
        img_size=64,
        timm_args=dict(_delete_=True, patch_size=8, embed_dim=128, depth=4, num_heads=4),
    )
)
