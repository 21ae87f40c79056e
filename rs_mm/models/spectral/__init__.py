"""Deep spectral segmentation: eigenvectors of an image and their fusion with predictions."""

from .decomposition import SpectralDecomposition
from .fusion import SpectralFusion

__all__ = ['SpectralDecomposition', 'SpectralFusion']
