from .attention import CBAM, DualAttention

__all__ = ['CBAM', 'DualAttention']
