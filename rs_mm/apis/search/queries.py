"""Several queries in one start: from a table, or typed at a prompt."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.tables import read_records

COLUMNS = ('name', 'image', 'text')


@dataclass(frozen=True)
class AskedQuery:
    """One query.

    Attributes:
        name: name of its rows in the results.
        image: a file or the name of an image of the archive, or None.
        text: the text, or None.
    """

    name: str
    image: str | None = None
    text: str | None = None


def read_queries(path: str | Path) -> list[AskedQuery]:
    """Reads a CSV file with a query in each row.

    Args:
        path: UTF-8, with a header of ``image``, ``text`` or both, and optionally ``name``. A file
            is searched at its path, then in the folder of the table.

    Raises:
        MissingFileError: the table does not exist.
        DataError: a column is unknown, or a row is empty; the message names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'there is no table of queries {path}.')
    header, rows = read_records(path)
    unknown = [name for name in header if name not in COLUMNS]
    if unknown or not {'image', 'text'} & set(header):
        raise DataError(
            f'{path}: the header is {", ".join(header)}; columns are name, image and text.'
        )
    found = [_query(row, number, path) for number, row in enumerate(rows, 2)]
    if not found:
        raise DataError(f'{path} holds no query.')
    names = [query.name for query in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f'{path}: two queries are named {twice!r}.')
    return found


def _query(row, line, path):
    image, text = ((row.get(key) or '').strip() or None for key in ('image', 'text'))
    if image is None and text is None:
        raise DataError(f'{path}, line {line}: give an image, a text, or both.')
    if image is not None and not Path(image).is_file() and (path.parent / image).is_file():
        image = str(path.parent / image)
    return AskedQuery((row.get('name') or '').strip() or f'query {line - 1}', image, text)


def prompted() -> Iterator[AskedQuery]:
    """Yields queries typed line by line as ``IMAGE``, ``| TEXT`` or ``IMAGE | TEXT``; an empty line
    ends.

    Raises:
        ConfigError: nothing was typed.
    """
    number = 0
    while True:
        if sys.stdin.isatty():
            print('IMAGE | TEXT (empty to end): ', end='', file=sys.stderr, flush=True)
        line = sys.stdin.readline().strip()
        if not line:
            break
        number += 1
        image, _, text = (part.strip() for part in line.partition('|'))
        yield AskedQuery(f'query {number}', image or None, text or None)
    if not number:
        raise ConfigError('no query was typed.')
