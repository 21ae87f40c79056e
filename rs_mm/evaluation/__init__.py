"""Metrics; importing this package registers all of them."""

from .change_metric import ChangeMetric

__all__ = ['ChangeMetric']
