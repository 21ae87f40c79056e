# SkyCLIP (SkyScript) was fine-tuned from OpenAI's weights, with their quick GELU.
_base_ = './weicom_clip-vit-l14_patterncom.py'

model = dict(
    arch='ViT-L-14-quickgelu', init_cfg=dict(checkpoint='models/SkyCLIP_ViT_L14_top30pct.pt')
)
