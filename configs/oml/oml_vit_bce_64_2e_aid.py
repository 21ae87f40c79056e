# A small vision transformer: 64 tokens of 8 x 8 pixels, 4 blocks of width 128, 0.8 M parameters.
_base_ = './oml_r18_bce_64_2e_aid.py'
model = dict(
    encoder=dict(
        model='vit_tiny_patch16_224',
        img_size=64,
        timm_args=dict(_delete_=True, patch_size=8, embed_dim=128, depth=4, num_heads=4),
    )
)
