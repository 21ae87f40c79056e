"""rs_mm: a remote-sensing toolbox on mmengine's registries, configs and Runner."""

from . import compat
from .version import __version__

compat.apply()

__all__ = ['__version__']
