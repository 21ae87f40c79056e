_base_ = './weicom_clip-rn50_patterncom.py'

model = dict(init_cfg=dict(checkpoint='models/RemoteCLIP-RN50.pt'))
