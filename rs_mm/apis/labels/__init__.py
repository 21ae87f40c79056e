"""Which labels images have."""

from .predictor import LabelPredictor
from .result import ImageLabels, SceneLabels

__all__ = ['ImageLabels', 'LabelPredictor', 'SceneLabels']
