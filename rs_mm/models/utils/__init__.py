"""Small parts that several models share."""

from .regions import sample_regions
from .siamese import both_dates, uses_batch_statistics

__all__ = ['both_dates', 'sample_regions', 'uses_batch_statistics']
