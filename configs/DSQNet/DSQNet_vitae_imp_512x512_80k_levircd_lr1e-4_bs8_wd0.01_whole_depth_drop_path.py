# Not as published: drop-path rates rise over the whole depth to 0.3 instead of to 0.208.
_base_ = './DSQNet_vitae_imp_512x512_80k_levircd_lr1e-4_bs8_wd0.01.py'

model = dict(backbone=dict(drop_path_over_whole_depth=True))
