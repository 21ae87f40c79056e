"""The folders of configs and tools: beside the package in a checkout, inside it if installed."""

from __future__ import annotations

from pathlib import Path

import rs_mm
from rs_mm.errors import MissingFileError, suggest

_PACKAGE = Path(rs_mm.__file__).parent


def tree(part: str) -> Path:
    """Returns the folder ``configs`` or ``tools`` of this installation.

    Raises:
        MissingFileError: the installation does not have the folder.
    """
    for root in (_PACKAGE / '.mim', _PACKAGE.parent):
        if (root / part).is_dir():
            return root / part
    raise MissingFileError(f'this installation of rs_mm has no {part}; install it again.')


def find_config(name: str | Path) -> Path:
    """Returns the config file with this path, or else with this name below ``configs``.

    Args:
        name: a path; or ``grn/sndl_resnet18_256_130e_aid.py``, or the last part of it, with or
            without ``.py``.

    Raises:
        MissingFileError: if there is none, or the name is that of several.
    """
    given = Path(name)
    return given if given.exists() else find_our_config(given)


def find_our_config(name: str | Path) -> Path:
    """The config file of this name below ``configs``, whatever lies in the working folder.

    Args:
        name: see :func:`find_config`.

    Raises:
        MissingFileError: if there is none, or the name is that of several.
    """
    given = Path(name)
    root = tree('configs')
    # published names contain dots: ..._wd0.01
    known_suffix = given.suffix in ('.py', '.json', '.yaml', '.yml')
    wanted = given if known_suffix else given.with_name(given.name + '.py')
    below = Path(*wanted.parts[wanted.parts[:1] == ('configs',) :])
    if (root / below).is_file():
        return root / below
    found = sorted(root.rglob(wanted.name)) if len(wanted.parts) == 1 else []
    if len(found) > 1:
        names = ', '.join(path.relative_to(root).as_posix() for path in found)
        raise MissingFileError(f'several configs are named {given}: {names}; give the folder too.')
    if not found:
        neighbours = given.parent.glob('*.py') if given.parent.is_dir() else ()
        ours = (path for path in root.rglob('*.py') if path.parts[len(root.parts)] != '_base_')
        known = [path.name for path in (*neighbours, *ours)]
        raise MissingFileError(f'there is no config {given}{suggest(wanted.name, known)}.')
    return found[0]
