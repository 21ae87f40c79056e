"""Memories: state that a loss keeps about the whole training set."""

from .feature_bank import FeatureBank

__all__ = ['FeatureBank']
