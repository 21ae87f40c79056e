"""Memories: state that a loss keeps about the whole training set."""

from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'feature_bank': ['FeatureBank'],
    },
)
