"""Reads multi-hot label tables and split files, and refuses rows that are not what they promise.

Two layouts of text file occur:

- a *label table* has a header ``image,<class>,...`` and one row per image of the whole set;
- a *split file* has no header and one row per image of one split: name, then its labels.

Names are written without folder and without suffix. Labels are 0 or 1, separated by commas,
spaces, or both. A file may be compressed with gzip (``.gz``).
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rs_mm.errors import DataError, MissingFileError

#: Tables packed with rs_mm (``labels/<name>_multilabel.csv.gz``).
PACKED = ('aid', 'dfc15', 'ucm')

_LAND_USE = (
    'airplane',
    'bare-soil',
    'buildings',
    'cars',
    'chaparral',
    'court',
    'dock',
    'field',
    'grass',
    'mobile-home',
    'pavement',
    'sand',
    'sea',
    'ship',
    'tanks',
    'trees',
    'water',
)

#: Class names by data set, in the order of the published label columns.
CLASSES = dict(
    ucm=_LAND_USE,
    aid=_LAND_USE,
    dfc15=('impervious', 'water', 'clutter', 'vegetation', 'building', 'tree', 'boat', 'car'),
    whdld=('building', 'road', 'pavement', 'vegetation', 'bare soil', 'water'),
)

_HOT = {'0': 0, '1': 1, '0.0': 0, '1.0': 1}


class LabelTable(NamedTuple):
    """Multi-hot labels of named images, and where they were read.

    Attributes:
        path: the file.
        names: N image names.
        labels: (N, L) uint8 of 0 and 1.
        lines: 1-based line of every name in the file.
        classes: L class names of the header; empty for a split file.
    """

    path: str
    names: list[str]
    labels: np.ndarray
    lines: list[int]
    classes: tuple[str, ...] = ()

    def select(self, names: Sequence[str]) -> LabelTable:
        """Returns the rows of ``names``, in their order.

        Raises:
            DataError: a name is unknown or listed twice.
        """
        check_unique(names, f'the split of {self.path}')
        rows = {name: row for row, name in enumerate(self.names)}
        unknown = [name for name in names if name not in rows]
        if unknown:
            raise DataError(
                f'{self.path} has no labels for {len(unknown)} of {len(names)} names '
                f'of the split, the first is {unknown[0]!r}.'
            )
        kept = [rows[name] for name in names]
        return self._replace(
            names=list(names), labels=self.labels[kept], lines=[self.lines[row] for row in kept]
        )


def read_label_table(source: str) -> LabelTable:
    """Reads a label table.

    Args:
        source: a table packed with rs_mm (``'ucm'``, ``'aid'``, ``'dfc15'``) or the path of
            a file with the header ``image,<class>,...``.

    Raises:
        DataError: there is no header, or a row has another length than it, a label that is not 0
            or 1, or a name that occurred before; the message names file and line.
    """
    if source in PACKED:
        source = str(Path(__file__).parent / 'labels' / f'{source}_multilabel.csv.gz')
    lines = _lines(source)
    if len(lines) < 2:
        raise DataError(f'{source}: a label table needs a header `image,<class>,...` and rows.')
    classes = tuple(cell.strip() for cell in lines[0][1].split(',')[1:])
    if classes and all(name in _HOT for name in classes):
        raise DataError(
            f'{source}, line {lines[0][0]}: a label table begins with a header '
            f'`image,<class>,...`, not with the labels of {_cells(lines[0][1])[0]!r}; '
            'add one.'
        )
    return _rows(source, lines[1:], len(classes), 'the header')._replace(classes=classes)


def read_split_file(path: str, num_classes: int | None = None) -> LabelTable:
    """Reads a split file: ``name,0/1,...`` per row, without header.

    Args:
        path: the file.
        num_classes: number of labels every row must have. Default: as many as the
            first row has.

    Raises:
        DataError: as :func:`read_label_table`.
    """
    lines = _lines(path)
    if not lines:
        raise DataError(f'{path}: the split file is empty.')
    expected, said_by = num_classes, 'the class list'
    if expected is None:
        expected, said_by = len(_cells(lines[0][1])) - 1, 'the first row'
    return _rows(path, lines, expected, said_by)


def write_split_file(path: str | Path, names: Sequence[str], labels: np.ndarray) -> None:
    """Writes a split file: names (N) and their labels ((N, L) of 0 and 1)."""
    rows = (','.join([name, *map(str, row)]) for name, row in zip(names, labels.tolist()))
    Path(path).write_text(''.join(f'{row}\n' for row in rows), encoding='utf-8')


def read_names(path: str) -> list[str]:
    """First column of a text file without header: one image or patch name per row."""
    return [re.split(r'[,\s]', line.strip(), maxsplit=1)[0] for _, line in _lines(path)]


def check_unique(names: Sequence[str], where: str) -> None:
    """Refuses a list that names an image twice, which would count it twice.

    Raises:
        DataError: it does; ``where`` says which list.
    """
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise DataError(
            f'{where}: {twice!r} is listed twice ({len(names) - len(set(names))} of '
            f'{len(names)} names are repetitions); list every image once.'
        )


def _lines(path: str) -> list[tuple[int, str]]:
    """Non-empty lines with their 1-based numbers."""
    if not Path(path).is_file():
        raise MissingFileError(f'{path}: no such label or split file.')
    opened = gzip.open if str(path).endswith('.gz') else open
    with opened(path, 'rt', encoding='utf-8-sig') as file:
        return [(number, line) for number, line in enumerate(file, 1) if line.strip()]


def _cells(line: str) -> list[str]:
    # a name may hold spaces where a comma ends it
    name, comma, rest = line.strip().partition(',')
    return [name.strip(), *re.split(r'[,\s]+', rest.strip())] if comma else line.split()


def _rows(
    path: str, lines: Sequence[tuple[int, str]], num_classes: int, said_by: str
) -> LabelTable:
    seen: dict[str, int] = {}
    labels = np.zeros((len(lines), num_classes), np.uint8)
    for row, (number, line) in enumerate(lines):
        name, *cells = _cells(line)
        if len(cells) != num_classes:
            raise DataError(
                f'{path}, line {number}: {len(cells)} labels for {name!r}, but '
                f'{said_by} has {num_classes}.'
            )
        if name in seen:
            raise DataError(
                f'{path}, line {number}: {name!r} is listed twice, first in line {seen[name]}.'
            )
        wrong = [cell for cell in cells if cell not in _HOT]
        if wrong:
            raise DataError(
                f'{path}, line {number}: label {wrong[0]!r} of {name!r} is neither 0 nor 1.'
            )
        seen[name] = number
        labels[row] = [_HOT[cell] for cell in cells]
    return LabelTable(str(path), list(seen), labels, list(seen.values()))
