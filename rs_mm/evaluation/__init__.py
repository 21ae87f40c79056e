"""Metrics; importing this package registers all of them."""

from .change_metric import ChangeMetric
from .knn_metric import KNNMultiLabel

__all__ = ['ChangeMetric', 'KNNMultiLabel']
