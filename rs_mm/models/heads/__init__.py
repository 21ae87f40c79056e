from .dsqnet_head import DSQNetHead
from .embedding_head import EmbeddingHead, PartHead
from .output import HeadOutput
from .pooling import GlobalPool
from .self_cross_correlation import SelfCrossCorrelationHead

__all__ = [
    'DSQNetHead',
    'EmbeddingHead',
    'GlobalPool',
    'HeadOutput',
    'PartHead',
    'SelfCrossCorrelationHead',
]
