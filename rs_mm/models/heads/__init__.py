from .embedding_head import EmbeddingHead, PartHead
from .output import HeadOutput
from .pooling import GlobalPool

__all__ = ['EmbeddingHead', 'GlobalPool', 'HeadOutput', 'PartHead']
