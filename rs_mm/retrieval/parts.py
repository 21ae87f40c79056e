"""The parts of this room that a config can name, without a registry of mmengine.

``rs_mm.registry.TASK_UTILS`` finds them here, so that they are registered beside their class and
this room needs torch and numpy only.
"""

from __future__ import annotations

from typing import TypeVar

PARTS: dict[str, type] = {}
Part = TypeVar('Part', bound=type)


def part(kind: Part) -> Part:
    """Marks a class as one that a config can name.

    Example:
        >>> @part
        ... class MyFusion(Fusion): ...
    """
    PARTS[kind.__name__] = kind
    return kind
