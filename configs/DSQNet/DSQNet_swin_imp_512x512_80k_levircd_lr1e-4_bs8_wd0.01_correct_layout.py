# Not as published: region contents are transposed before they are read as (channel, region).
_base_ = './DSQNet_swin_imp_512x512_80k_levircd_lr1e-4_bs8_wd0.01.py'

model = dict(decode_head=dict(bmq=dict(correct_layout=True)))
