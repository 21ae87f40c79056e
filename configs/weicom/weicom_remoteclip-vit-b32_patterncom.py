_base_ = './weicom_clip-vit-b32_patterncom.py'

model = dict(init_cfg=dict(checkpoint='models/RemoteCLIP-ViT-B-32.pt'))
