"""Finding a class that a few images with masks define."""

from .result import FewShotMask
from .segmenter import FewShotSegmenter
from .supports import Supports

__all__ = ['FewShotMask', 'FewShotSegmenter', 'Supports']
