from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'attention': ['CBAM', 'DualAttention'],
        'bmq': ['BMQ'],
        'dsp': ['DSP'],
        'feature_fusion': ['FeatureFusionNeck'],
    },
)
