from .attention import CBAM, DualAttention
from .bmq import BMQ
from .dsp import DSP
from .feature_fusion import FeatureFusionNeck

__all__ = ['BMQ', 'CBAM', 'DSP', 'DualAttention', 'FeatureFusionNeck']
