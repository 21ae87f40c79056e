_base_ = [
    '../_base_/models/weicom_clip_vit-l14.py',
    '../_base_/datasets/weicom_xview2-cir.py',
    '../_base_/schedules/weicom_test.py',
]

model = dict(init_cfg=dict(checkpoint='models/RemoteCLIP-ViT-L-14.pt'))
