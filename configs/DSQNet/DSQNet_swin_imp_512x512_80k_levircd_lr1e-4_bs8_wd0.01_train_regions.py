# Not as published: the regions of the matching query are sampled differentiably and learn.
_base_ = './DSQNet_swin_imp_512x512_80k_levircd_lr1e-4_bs8_wd0.01.py'

model = dict(decode_head=dict(bmq=dict(train_regions=True)))
