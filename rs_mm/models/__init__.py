"""Models and their parts."""

from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(__name__, {})
