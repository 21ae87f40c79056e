# EfficientNet-B0 as in the original code: no activation after the first and the last norm, a
# padding that does not depend on the input size, batch norm momentum 0.01.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(
    encoder=dict(
        model='tf_efficientnet_b0',
        dilate='none',
        linear_ends=True,
        fixed_padding=True,
        timm_args=dict(bn_momentum=0.01),
        init_cfg=dict(checkpoint='timm'),
    )
)
