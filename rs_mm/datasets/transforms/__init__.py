from .band_images import LoadBandImage, NormalizeBands, ResizeBands, ScaleBands
from .embedding import PackEmbeddingInputs

__all__ = [
    'LoadBandImage',
    'NormalizeBands',
    'PackEmbeddingInputs',
    'ResizeBands',
    'ScaleBands',
]
