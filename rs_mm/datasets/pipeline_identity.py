"""A description of a pipeline, which tells its results from those of another pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe(value: Any) -> str:
    """Describes a pipeline, transform or option by types and settings, equally in every process.

    An object without a description is described by its class and its attributes.
    """
    if isinstance(value, (list, tuple)):
        return f'[{", ".join(map(describe, value))}]'
    if isinstance(value, Mapping):
        return f'{{{", ".join(f"{key}: {describe(item)}" for key, item in value.items())}}}'
    if hasattr(value, 'transforms'):
        return describe(list(value.transforms))
    if hasattr(value, '__qualname__'):  # a function or class
        return value.__qualname__
    if type(value).__repr__ is not object.__repr__:
        return ' '.join(repr(value).split())
    return f'{type(value).__name__}{describe(vars(value))}'
