# The large GeoRSCLIP (RS5M) was fine-tuned from LAION's weights, with the plain GELU. Source:
# inference/inference.py of github.com/om-ai-lab/RS5M, which builds ViT-H/14 as "laion2b_s32b_b79k".
_base_ = './weicom_clip-vit-l14_patterncom.py'

model = dict(arch='ViT-H-14', init_cfg=dict(checkpoint='models/GeoRSCLIP/RS5M_ViT-H-14.pt'))
