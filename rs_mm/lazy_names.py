"""Packages that import a module when one of its names is asked for, and parts found by their name.

A config uses a few of the parts that there are. A package hands its names out by a module-level
``__getattr__`` (PEP 562), and a registry imports the module whose text registers the name that is
asked for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def attach(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[list[str], Callable[[str], Any]]:
    """``__all__`` and ``__getattr__`` of a package.

    Args:
        package: its ``__name__``.
        modules: module of the package -> the names that the package takes from it.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(f'{package}.{homes[name]}'), name)
        if not name.startswith('_') and importlib.util.find_spec(f'{package}.{name}'):
            return importlib.import_module(f'{package}.{name}')
        raise AttributeError(f'module {package!r} has no attribute {name!r}')

    return sorted(homes), __getattr__


def import_homes(places: Sequence[str], name: str) -> None:
    """Imports the modules of some packages that may register a part of this name."""
    for place in places:
        for module in homes_of(place).get(name, ()):
            importlib.import_module(module)


def import_all(places: Sequence[str]) -> None:
    """Imports all modules of some packages that register parts."""
    for place in places:
        modules = {module for homes in homes_of(place).values() for module in homes}
        for module in (place, *sorted(modules)):
            importlib.import_module(module)


@functools.cache
def homes_of(place: str) -> dict[str, list[str]]:
    """Name -> the modules below a package, or the one module, whose text may register it."""
    spec = importlib.util.find_spec(place)
    if spec is None or spec.origin is None:
        return {}
    origin, homes = Path(spec.origin), {}
    files = sorted(origin.parent.rglob('*.py')) if spec.submodule_search_locations else [origin]
    for file in files:
        text = file.read_text(encoding='utf-8')
        if not re.search(r'register_module|^@part\b', text, re.M):
            continue
        parts = file.relative_to(origin.parent).with_suffix('').parts
        module = place if file == origin else '.'.join((place, *parts)).removesuffix('.__init__')
        for name in _names_in(text):
            homes.setdefault(name, []).append(module)
    return homes


def _names_in(text):
    """Classes and functions of a module, and what its registrations name in quotes."""
    names = re.findall(r'^(?:class|def) (\w+)', text, re.M)
    for line in text.split('\n'):
        if 'register_module' in line or 'name=' in line:
            names += re.findall(r'[\'"](\w+)[\'"]', line)
    return dict.fromkeys(names)
