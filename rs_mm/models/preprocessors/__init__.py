"""Data preprocessors, which turn a batch of samples into the input of a network."""

from .change_preprocessor import ChangeDataPreprocessor, DualInputSegDataPreProcessor
from .embedding_preprocessor import EmbeddingDataPreProcessor, EmbeddingDataPreprocessor
from .few_shot_preprocessor import FewShotDataPreprocessor

__all__ = [
    'ChangeDataPreprocessor',
    'DualInputSegDataPreProcessor',
    'EmbeddingDataPreprocessor',
    'EmbeddingDataPreProcessor',
    'FewShotDataPreprocessor',
]
