# GeoRSCLIP (RS5M) was fine-tuned from OpenAI's weights, with their quick GELU. Source:
# inference/inference.py of github.com/om-ai-lab/RS5M, which builds ViT-B/32 as "openai".
_base_ = './weicom_clip-vit-l14_patterncom.py'

model = dict(
    arch='ViT-B-32-quickgelu', init_cfg=dict(checkpoint='models/GeoRSCLIP/RS5M_ViT-B-32.pt')
)
