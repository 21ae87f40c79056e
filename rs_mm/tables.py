"""Reading text files of tables and lists, which may be compressed."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from itertools import zip_longest
from pathlib import Path

from rs_mm.errors import DataError, MissingFileError
from rs_mm.limits import max_table_bytes

_LINES = 10_000_000


def read_text(path: str | Path, what: str = 'table') -> str:
    """The text of a file, unpacked if its name ends with ``.gz``, with ``\\n`` as line end.

    Args:
        path: the file, UTF-8 with or without a byte order mark.
        what: how to call it in a message.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is damaged, no UTF-8, or unpacks to more than is read (:mod:`rs_mm.limits`).
    """
    if not Path(path).is_file():
        raise MissingFileError(f'{path}: no such {what} file.')
    try:
        content = _unpacked(path, what) if str(path).endswith('.gz') else Path(path).read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f'{path}: the {what} cannot be unpacked ({error}); it is damaged or no gzip file.'
        ) from error
    except OSError as error:
        raise DataError(f'{path}: the {what} cannot be read: {error.strerror or error}.') from error
    if content.count(b'\n') > _LINES:
        raise DataError(f'{path}: the {what} has more than {_LINES:,} lines.')
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise DataError(
            f'{path}, line {line}: the {what} is not UTF-8 (byte {content[error.start]:#04x}); '
            'save it as UTF-8.'
        ) from error
    return text.replace('\r\n', '\n').replace('\r', '\n')


def _unpacked(path, what):
    limit = max_table_bytes()
    with gzip.open(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise DataError(
            f'{path}: the {what} unpacks to more than {limit >> 20} MiB; raise the limit by the '
            'environment variable RS_MM_MAX_TABLE_BYTES if it is meant so.'
        )
    return content


def read_csv(path: str | Path, what: str = 'table') -> list[list[str]]:
    """Yields the fields of each line of a file of comma-separated values; see :func:`read_text`."""
    rows = csv.reader(io.StringIO(read_text(path, what)))
    try:
        return list(rows)
    except csv.Error as error:
        raise DataError(
            f'{path}, line {rows.line_num}: the {what} is not a CSV ({error}).'
        ) from error


def read_records(path: str | Path, what: str = 'table') -> tuple[list[str], list[dict[str, str]]]:
    """Reads the header of a CSV file, and its further lines by the header, without empty lines.

    A missing cell is empty; cells beyond the header are left out.
    """
    rows = read_csv(path, what)
    header = [cell.strip() for cell in rows[0]] if rows else []
    return header, [
        dict(zip_longest(header, row[: len(header)], fillvalue='')) for row in rows[1:] if any(row)
    ]


def read_lines(path: str | Path, what: str = 'table') -> list[str]:
    """Yields the lines of a file, without their ends; see :func:`read_text`."""
    lines = read_text(path, what).split('\n')
    return lines if lines[-1] else lines[:-1]
