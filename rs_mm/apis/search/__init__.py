"""Search in an archive by an image, a text, or both."""

from .engine import ImageSearch
from .methods import METHODS, fusion_of
from .results import Found, Results, check_output

__all__ = ['METHODS', 'Found', 'ImageSearch', 'Results', 'check_output', 'fusion_of']
