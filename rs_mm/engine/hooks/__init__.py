"""Hooks."""

from .reproducible import ReproducibleHook
from .visualization import SampleVisualizationHook

__all__ = ['ReproducibleHook', 'SampleVisualizationHook']
