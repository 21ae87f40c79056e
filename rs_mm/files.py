"""Writing files that are there whole or not at all."""

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
    """Opens a file for writing under another name, and renames it once all is written.

    A run that is killed meanwhile leaves the file that was there before. Its folder is made.

    Args:
        path: the final name.
        mode: ``wb`` or ``w``.
        options: as of ``open``.
    """
    with atomic_path(path) as unfinished, open(unfinished, mode, **options) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())  # else a power cut could leave the name without its content


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """The same for a function that wants a name: gives the name to write under."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix is kept, because writers of pictures choose the format by it
    unfinished = path.with_name(f'.{path.stem}.{os.getpid()}{_UNFINISHED}{path.suffix}')
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder: str | Path, last: str) -> Iterator[Path]:
    """The same for files that belong together: gives an empty folder to write them into.

    At the end they are moved into ``folder``. Whoever reads them looks for ``last`` first, which
    is taken away before the others change and comes back after them.
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
    """Removes what killed runs left half-written in a folder; returns how many files."""
    left = list(Path(folder).glob(f'.*{_UNFINISHED}*'))
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return len(left)


def write_json(path: str | Path, content: Any, indent: int | None = 1) -> None:
    """Writes JSON that every parser reads (RFC 8259): a float that is no number becomes null.

    Args:
        path: the file; its folder is made.
        content: dicts, lists, strings and numbers, numpy's and torch's scalars and arrays too.
        indent: as of ``json.dumps``.
    """
    with atomic_write(path, 'w', encoding='utf-8') as file:
        file.write(json.dumps(plain(content), indent=indent, allow_nan=False) + '\n')


def write_metrics(path: str | Path, metrics: dict) -> None:
    """:func:`write_json` of figures; ``without_value`` says why some of them are null."""
    content = plain(metrics)
    empty = [key for key, value in content.items() if value is None]
    if empty:
        content['without_value'] = (
            f'{", ".join(empty)}: nothing that was tested has what they measure (they would be a '
            'division by zero)'
        )
    write_json(path, content)


def plain(content: Any) -> Any:
    """Nested data as JSON knows it; NaN and infinity become None."""
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
    """A file can be written: said before the work whose result it takes.

    Raises:
        ConfigError: the name is that of a folder, or permission is lacking.
    """
    if Path(path).is_dir():
        raise ConfigError(f'{option} {path} is a folder; name a file in it.')
    if Path(path).exists() and not os.access(path, os.W_OK):
        raise ConfigError(f'{option} {path}: no permission to write this file.')
    check_writable(Path(path).absolute().parent, option)


def check_writable(folder: str | Path, option: str = 'the folder') -> None:
    """A folder is there, or can be made, and can be written into.

    Raises:
        ConfigError: it is a file, or permission is lacking.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise ConfigError(f'{option} {folder}: {place} is a file; name a folder to write into.')
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f'{option} {folder}: no permission to write into {place}.')
