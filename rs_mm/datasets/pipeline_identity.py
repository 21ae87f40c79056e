"""Says what a pipeline does, so that what it prepared can be told from what another did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe(value: Any) -> str:
    """A text of a pipeline, transform or option: types and settings, equal in every process.

    An object that says nothing about itself is described by its class and its attributes.
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
