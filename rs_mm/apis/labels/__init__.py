"""Predicting the labels of images and scenes."""

from .predictor import LabelPredictor
from .result import ImageLabels, SceneLabels

__all__ = ['ImageLabels', 'LabelPredictor', 'SceneLabels']
