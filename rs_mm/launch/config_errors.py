"""Why a config file cannot be read, in a sentence that names the file to mend."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from rs_mm.errors import MissingFileError


def why_unreadable(path: Path, error: Exception) -> str:
    """The sentence for what reading a config file raised.

    The fault may lie in the file, in one that it inherits, or in a module of ``custom_imports``.

    Args:
        path: the config file.
        error: what mmengine raised, with its causes and its traceback.
    """
    if isinstance(error, SyntaxError):
        # mmengine runs copies of configs, whose names say nothing
        file = path if _imported(error) is None else error.filename
        return f'{file}, line {error.lineno}: {error.msg}.'
    if isinstance(error, MissingFileError):
        return f'{path}: {error}'
    base = getattr(error, 'filename', None)
    if isinstance(error, FileNotFoundError) and base and Path(base).suffix == '.py':
        return (
            f'{path} inherits {base}, which does not exist; `_base_` is relative to the file, and '
            f"'rs_mm::NAME' names a config of ours."
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
    """``FILE, line N`` of the user's module that raised an error; empty if there is none."""
    own = [
        frame
        for frame in _imported(error) or ()
        if not frame.filename.startswith('<')
        and not {'site-packages', 'importlib'} & set(Path(frame.filename).parts)
    ]
    return f'{own[-1].filename}, line {own[-1].lineno}' if own else ''


def _imported(error):
    """The frames that an error passed below the import of ``custom_imports``; None outside it."""
    frames = traceback.extract_tb(error.__traceback__)
    names = [frame.name for frame in frames]
    start = 'import_modules_from_strings'
    return frames[names.index(start) + 1 :] if start in names else None
