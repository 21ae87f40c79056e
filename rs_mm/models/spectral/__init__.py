"""Deep spectral segmentation: eigenvectors of an image and their fusion with predictions."""

from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'decomposition': ['SpectralDecomposition'],
        'fusion': ['SpectralFusion'],
    },
)
