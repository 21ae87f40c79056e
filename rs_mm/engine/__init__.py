"""Samplers, loops, hooks and other parts of a run."""

from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(__name__, {})
