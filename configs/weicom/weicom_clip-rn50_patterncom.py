_base_ = './weicom_clip-vit-l14_patterncom.py'

model = dict(arch='RN50', init_cfg=dict(checkpoint='models/CLIP-RN50.bin'))
