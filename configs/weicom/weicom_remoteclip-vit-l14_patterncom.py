_base_ = './weicom_clip-vit-l14_patterncom.py'

model = dict(init_cfg=dict(checkpoint='models/RemoteCLIP-ViT-L-14.pt'))
