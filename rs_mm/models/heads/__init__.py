from .dsqnet_head import DSQNetHead
from .embedding_head import EmbeddingHead, PartHead
from .grn_head import GRNHead
from .head_output import HeadOutput
from .pooling import GlobalPool
from .self_cross_correlation import SelfCrossCorrelationHead
from .unet_head import UNetHead

__all__ = [
    'DSQNetHead',
    'EmbeddingHead',
    'GRNHead',
    'GlobalPool',
    'HeadOutput',
    'PartHead',
    'SelfCrossCorrelationHead',
    'UNetHead',
]
