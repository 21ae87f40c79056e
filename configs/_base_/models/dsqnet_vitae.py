# DSQNet with ViTAEv2-S. Everything except the backbone is as in dsqnet_swin.py.
_base_ = './dsqnet_swin.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='ViTAE_Window_NoShift_basic',
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/ViTAEv2-S.pth.tar'),
    ),
    decode_head=dict(in_channels=[64, 128, 256, 512]),
)
