# SkyCLIP (SkyScript) was fine-tuned from OpenAI's weights, with their quick GELU. Source: README
# and notebooks of github.com/wangzhecheng/SkyScript, which test ViT-L-14 with --force-quick-gelu.
# Its ViT-B-32 began from laion2b_e16 and has the plain GELU (model.arch=ViT-B-32).
_base_ = './weicom_clip-vit-l14_patterncom.py'

model = dict(
    arch='ViT-L-14-quickgelu', init_cfg=dict(checkpoint='models/SkyCLIP_ViT_L14_top30pct.pt')
)
