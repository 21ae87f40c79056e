"""Data preprocessors, which turn a batch of samples into the input of a network."""

from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'change_preprocessor': ['ChangeDataPreprocessor', 'DualInputSegDataPreProcessor'],
        'embedding_preprocessor': ['EmbeddingDataPreProcessor', 'EmbeddingDataPreprocessor'],
        'few_shot_preprocessor': ['FewShotDataPreprocessor'],
    },
)
