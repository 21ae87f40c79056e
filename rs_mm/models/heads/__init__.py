from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'dsqnet_head': ['DSQNetHead'],
        'embedding_head': ['EmbeddingHead', 'PartHead'],
        'grn_head': ['GRNHead'],
        'head_output': ['HeadOutput'],
        'pooling': ['GlobalPool'],
        'self_cross_correlation': ['SelfCrossCorrelationHead'],
        'unet_head': ['UNetHead'],
    },
)
