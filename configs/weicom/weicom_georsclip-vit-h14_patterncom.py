# The large GeoRSCLIP (RS5M) was fine-tuned from LAION's weights, with the plain GELU.
_base_ = './weicom_clip-vit-l14_patterncom.py'

model = dict(arch='ViT-H-14', init_cfg=dict(checkpoint='models/GeoRSCLIP/RS5M_ViT-H-14.pt'))
