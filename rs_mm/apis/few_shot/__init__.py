"""Finding a class that is known from a few images with masks."""

from .result import FewShotMask
from .segmenter import FewShotSegmenter
from .supports import Supports

__all__ = ['FewShotMask', 'FewShotSegmenter', 'Supports']
