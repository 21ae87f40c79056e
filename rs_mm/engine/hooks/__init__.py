"""Hooks."""

from .checkpoint import CheckpointHook
from .numeric_guard import NumericGuardHook
from .reproducible import ReproducibleHook
from .throughput import ThroughputHook
from .visualization import SampleVisualizationHook

__all__ = ['CheckpointHook', 'NumericGuardHook', 'ReproducibleHook', 'SampleVisualizationHook',
           'ThroughputHook']
