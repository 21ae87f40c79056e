"""Writing files without leaving incomplete ones."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rs_mm.errors import ConfigError

_UNFINISHED = '.unfinished'


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = 'wb', **options: Any) -> Iterator[IO]:
    """Opens a file for writing under another name, and renames it after everything is written.

    A run that is killed before leaves the previous file. The folder is created.

    Args:
        path: the final name.
        mode: ``wb`` or ``w``.
        options: options of ``open``.
    """
    with atomic_path(path) as unfinished, open(unfinished, mode, **options) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())  # otherwise a power cut could leave a file name without content


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Does the same for a function that takes a name; yields the name to write to."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix is kept, because it gives the format of pictures
    unfinished = path.with_name(f'.{path.stem}.{os.getpid()}{_UNFINISHED}{path.suffix}')
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder: str | Path, last: str) -> Iterator[Path]:
    """Does the same for files that belong together; yields an empty folder for them.

    At the end they are moved into ``folder``. Readers check for ``last`` first; it is removed
    before the other files change, and moved after them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f'.{os.getpid()}{_UNFINISHED}'
    try:
        unfinished.mkdir(exist_ok=True)
        yield unfinished
        (folder / last).unlink(missing_ok=True)
        for path in sorted(unfinished.iterdir(), key=lambda path: path.name == last):
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def remove_unfinished(folder: str | Path) -> int:
    """Removes incomplete files of killed runs in a folder; returns their number."""
    left = list(Path(folder).glob(f'.*{_UNFINISHED}*'))
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return len(left)


def write_json(path: str | Path, content: Any, indent: int | None = 1) -> None:
    """Writes JSON that every parser reads (RFC 8259): NaN and infinite values become null.

    Args:
        path: the file; its folder is created.
        content: dicts, lists, strings and numbers, also scalars and arrays of numpy and torch.
        indent: see ``json.dumps``.
    """
    with atomic_write(path, 'w', encoding='utf-8') as file:
        file.write(json.dumps(plain(content), indent=indent, allow_nan=False) + '\n')


def write_metrics(path: str | Path, metrics: dict) -> None:
    """Writes figures with :func:`write_json`; ``without_value`` says why some are null."""
    content = plain(metrics)
    empty = [key for key, value in content.items() if value is None]
    if empty:
        content['without_value'] = (
            f'{", ".join(empty)}: nothing that was tested has what they measure (they would be a '
            'division by zero)'
        )
    write_json(path, content)


def plain(content: Any) -> Any:
    """Converts nested data to JSON types; NaN and infinity become None."""
    if isinstance(content, dict):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple, set, range)):
        return [plain(value) for value in content]
    if hasattr(content, 'tolist'):  # numpy and torch
        return plain(content.tolist())
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    return str(content) if isinstance(content, os.PathLike) else content


def check_file_writable(path: str | Path, option: str = 'the output') -> None:
    """Checks before the work that the file of its result can be written.

    Raises:
        ConfigError: the name is a folder, or there is no permission.
    """
    if Path(path).is_dir():
        raise ConfigError(f'{option} {path} is a folder; name a file in it.')
    if Path(path).exists() and not os.access(path, os.W_OK):
        raise ConfigError(f'{option} {path}: no permission to write this file.')
    check_writable(Path(path).absolute().parent, option)


def check_writable(folder: str | Path, option: str = 'the folder') -> None:
    """Checks that a folder exists or can be created, and is writable.

    Raises:
        ConfigError: the name is a file, or there is no permission.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise ConfigError(f'{option} {folder}: {place} is a file; name a folder to write into.')
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f'{option} {folder}: no permission to write into {place}.')
