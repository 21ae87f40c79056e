"""Hooks."""

from .checkpoint import CheckpointHook
from .composed_visualization import ComposedRetrievalVisualizationHook
from .feature_bank import FeatureBankHook, KNNReferenceHook
from .numeric_guard import NumericGuardHook
from .reproducible import ReproducibleHook
from .throughput import ThroughputHook
from .visualization import SampleVisualizationHook

__all__ = [
    'CheckpointHook',
    'ComposedRetrievalVisualizationHook',
    'FeatureBankHook',
    'KNNReferenceHook',
    'NumericGuardHook',
    'ReproducibleHook',
    'SampleVisualizationHook',
    'ThroughputHook',
]
