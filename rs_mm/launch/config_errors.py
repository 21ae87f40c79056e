"""Messages for config files that cannot be read, which name the file to correct."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from rs_mm.errors import MissingFileError


def why_unreadable(path: Path, error: Exception) -> str:
    """Returns the sentence for an error from reading a config file.

    The fault may be in the file, in a config that it inherits, or in a module of
    ``custom_imports``.

    Args:
        path: the config file.
        error: the error of mmengine, with its causes and its traceback.
    """
    if isinstance(error, SyntaxError):
        # mmengine runs copies of configs with meaningless names
        file = path if _imported(error) is None else error.filename
        return f'{file}, line {error.lineno}: {error.msg}.'
    if isinstance(error, MissingFileError):
        return f'{path}: {error}'
    base = getattr(error, 'filename', None)
    if isinstance(error, FileNotFoundError) and base and Path(base).suffix == '.py':
        return (
            f'{path} inherits {base}, which does not exist; `_base_` is relative to the file, and '
            f"'rs_mm::NAME' names a config of rs_mm."
        )
    failed = re.match(r'Failed to import ([\w.]+)$', str(error.__cause__ or ''))
    if isinstance(error, ImportError) and failed:
        return f'{path}: {_why_not_imported(failed[1], error.__cause__.__context__)}'
    reason = f'{type(error).__name__}: {" ".join(str(error).split())}'
    if module := _in_module(error):
        return f'{path}: `custom_imports` fails in {module}: {reason}'
    return f'{path} cannot be read: {reason}'


def _why_not_imported(name, reason):
    missing = getattr(reason, 'name', None) if isinstance(reason, ModuleNotFoundError) else None
    if missing and f'{name}.'.startswith(f'{missing}.'):
        return (
            f'`custom_imports` names {name}, and there is no module {missing}; correct the name, '
            'or add the folder that holds it to PYTHONPATH.'
        )
    place = f' (in {module})' if (module := _in_module(reason)) else ''
    return f'`custom_imports` names {name}, which fails to import: {reason}{place}'


def _in_module(error):
    """Returns ``FILE, line N`` of the user's module that raised an error, or an empty string."""
    own = [
        frame
        for frame in _imported(error) or ()
        if not frame.filename.startswith('<')
        and not {'site-packages', 'importlib'} & set(Path(frame.filename).parts)
    ]
    return f'{own[-1].filename}, line {own[-1].lineno}' if own else ''


def _imported(error):
    """Returns the frames of an error below the import of ``custom_imports``; None outside of it."""
    frames = traceback.extract_tb(error.__traceback__)
    names = [frame.name for frame in frames]
    start = 'import_modules_from_strings'
    return frames[names.index(start) + 1 :] if start in names else None
