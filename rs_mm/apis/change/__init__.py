"""Change detection for pairs of arrays, files and folders.

The two classes are imported when they are first used: :mod:`.folders` checks paths before torch
is imported.
"""

from __future__ import annotations

from typing import Any

__all__ = ['ChangeDetector', 'ChangeMap']


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from . import detector

    return getattr(detector, name)
