_base_ = './weicom_clip-vit-l14_patterncom.py'

model = dict(arch='ViT-B-32', init_cfg=dict(checkpoint='models/CLIP-ViT-B-32.bin'))
