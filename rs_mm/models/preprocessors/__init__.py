"""What turns a batch of samples into the input of a network."""

from .change_preprocessor import DualInputSegDataPreProcessor
from .embedding_preprocessor import EmbeddingDataPreProcessor
from .few_shot_preprocessor import FewShotDataPreprocessor

__all__ = [
    'DualInputSegDataPreProcessor',
    'EmbeddingDataPreProcessor',
    'FewShotDataPreprocessor',
]
