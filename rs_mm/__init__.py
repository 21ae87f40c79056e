"""rs_mm: a remote-sensing toolbox on mmengine's registries, configs and Runner."""

from . import compat, moved
from .version import __version__

compat.apply()
moved.install()

__all__ = ['__version__']
