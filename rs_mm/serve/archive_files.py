"""The files that the page may show: files below the archive."""

from __future__ import annotations

from pathlib import Path

from rs_mm.errors import DataError
from rs_mm.retrieval.index import Record


def is_inside(record: Record) -> bool:
    """Returns whether the file of a record is below its archive.

    A link may lead out of the archive, and an index may name any file.
    """
    names = Path(record.name).parts
    if '..' in names or Path(record.path).parts[-len(names) :] != names:
        return False
    return Path(record.path).resolve().is_relative_to(archive_root(record).resolve())


def folder_inside(root: Path, name: str) -> Path:
    """Returns a folder below another one.

    Raises:
        DataError: the folder does not exist, or is not below the other one.
    """
    folder = (root / name.strip().lstrip('/')).resolve()
    if not folder.is_relative_to(root.resolve()) or not folder.is_dir():
        raise DataError(f'there is no folder "{name}" in the archive.')
    return folder


def archive_root(record: Record) -> Path:
    """Returns the folder to which a record's name is relative."""
    path = Path(record.path)
    return Path(*path.parts[: len(path.parts) - len(Path(record.name).parts)])
