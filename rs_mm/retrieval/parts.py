"""The registry of fusions and re-rankers that a config can name, without mmengine.

``rs_mm.registry.TASK_UTILS`` finds them here. So a class is registered where it is defined, and
this room needs only torch and numpy.
"""

from __future__ import annotations

from typing import TypeVar

PARTS: dict[str, type] = {}
Part = TypeVar('Part', bound=type)


def part(kind: Part) -> Part:
    """Registers a class, which a config can then name.

    Example:
        >>> @part
        ... class MyFusion(Fusion): ...
    """
    PARTS[kind.__name__] = kind
    return kind
