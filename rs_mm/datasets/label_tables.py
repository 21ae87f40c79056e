"""Reading and checking of multi-hot label tables and split files.

There are two layouts of text files:

- a *label table* has a header ``image,<class>,...`` and one row per image of the whole dataset;
- a *split file* has one row per image of one split: name, then its labels; a header is optional.

If a header names the classes, columns are matched by name, never by position. Names of images have
no folder and no suffix, and may be in quotes. Labels are 0 or 1, separated by commas, spaces, or
both. A file may be compressed with gzip (``.gz``).
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rs_mm.errors import DataError
from rs_mm.files import atomic_write
from rs_mm.tables import read_lines

#: Tables that are part of rs_mm (``labels/<name>_multilabel.csv.gz``).
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

#: Class names by dataset, in the order of the published label columns.
CLASSES = dict(
    ucm=_LAND_USE,
    aid=_LAND_USE,
    dfc15=('impervious', 'water', 'clutter', 'vegetation', 'building', 'tree', 'boat', 'car'),
    whdld=('building', 'road', 'pavement', 'vegetation', 'bare soil', 'water'),
)

_NAME_COLUMNS = ('image', 'images', 'name', 'filename', 'file', 'id', 'patch', 'patch_id')
_HOT = {'0': 0, '1': 1, '0.0': 0, '1.0': 1}


class LabelTable(NamedTuple):
    """Multi-hot labels of named images, with the file and lines they come from.

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
        """Returns the label rows of ``names``, in this order.

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

    def ordered(self, classes: Sequence[str]) -> LabelTable:
        """Returns the table with its columns in the order of ``classes``; a table without header is
        unchanged.

        The comparison of names ignores case, spaces, ``-`` and ``_``.

        Raises:
            DataError: the header names other classes.
        """
        if not self.classes:
            return self
        places = {_plain(name): column for column, name in enumerate(self.classes)}
        wanted = [_plain(name) for name in classes]
        if set(wanted) != set(places):
            lacking = [name for name in classes if _plain(name) not in places]
            strange = [name for name in self.classes if _plain(name) not in wanted]
            raise DataError(
                f'{self.path}: the header names {len(self.classes)} classes and `classes` '
                f'{len(classes)}, which are not the same: '
                + '; '.join(
                    f'{what} {", ".join(map(repr, names[:4]))}'
                    for what, names in (('the header lacks', lacking), ('it also has', strange))
                    if names
                )
                + '. Correct one of them, or leave `classes` out.'
            )
        columns = [places[name] for name in wanted]
        return self._replace(labels=self.labels[:, columns], classes=tuple(classes))


def _plain(name):
    return re.sub(r'[\s_-]+', '', name).casefold()


def check_class_names(names: Sequence[str], where: str) -> None:
    """Refuses class names that occur twice.

    Raises:
        DataError: a name occurs twice; the message begins with ``where``.
    """
    seen = {}
    for name in names:
        other = seen.setdefault(_plain(name), name)
        if other is not name or names.count(name) > 1:
            raise DataError(f'{where}: two classes have the same name, {other!r} and {name!r}.')


def read_label_table(source: str) -> LabelTable:
    """Reads a label table.

    Args:
        source: a table that is part of rs_mm (``'ucm'``, ``'aid'``, ``'dfc15'``) or the path of
            a file with the header ``image,<class>,...``.

    Raises:
        DataError: the header is missing or names a class twice; or a row has another length than
            the header, a label that is not 0 or 1, or a repeated name; the message names file and
            line.
    """
    if source in PACKED:
        source = str(Path(__file__).parent / 'labels' / f'{source}_multilabel.csv.gz')
    lines = _lines(source)
    if len(lines) < 2:
        raise DataError(f'{source}: a label table needs a header `image,<class>,...` and rows.')
    classes = _header(lines[0][1], source)
    if classes is None:
        raise DataError(
            f'{source}, line {lines[0][0]}: a label table begins with a header '
            f'`image,<class>,...`, not with the labels of {_cells(lines[0][1])[0]!r}; '
            'add one.'
        )
    return _rows(source, lines[1:], len(classes), 'the header')._replace(classes=classes)


def read_split_file(path: str, num_classes: int | None = None) -> LabelTable:
    """Reads a split file: ``name,0/1,...`` per row, with or without a header ``image,<class>,...``.

    Args:
        path: the file.
        num_classes: number of labels that every row must have. Default: taken from the header, or
            from the first row.

    Raises:
        DataError: as :func:`read_label_table`.
    """
    lines = _lines(path)
    classes = _header(lines[0][1], path) if lines else None
    rows = lines if classes is None else lines[1:]
    if not rows:
        raise DataError(f'{path}: the split file is empty.')
    expected, said_by = num_classes, 'the class list'
    if classes is not None:
        expected, said_by = len(classes), 'the header'
    elif expected is None:
        expected, said_by = len(_cells(rows[0][1])) - 1, 'the first row'
    return _rows(path, rows, expected, said_by)._replace(classes=classes or ())


def write_split_file(
    path: str | Path, names: Sequence[str], labels: np.ndarray, classes: Sequence[str] = ()
) -> None:
    """Writes a split file: names (N) and their labels ((N, L) of 0 and 1).

    Args:
        path: the file.
        names, labels: names and labels of the images.
        classes: L class names for a header; None: no header.
    """
    with atomic_write(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        if len(classes):
            writer.writerow(['image', *classes])
        writer.writerows([name, *row] for name, row in zip(names, labels.tolist()))


def read_names(path: str) -> list[str]:
    """Returns the first column of a text file: one image or patch name per row.

    A name may have spaces and may be in quotes. A header (``image``, ``patch_id`` and similar) and
    labels after the name are left out.

    Raises:
        MissingFileError, DataError: the file does not exist, or is not text.
    """
    lines = [line for _, line in _lines(path)]
    if lines and _cells(lines[0])[0].casefold() in _NAME_COLUMNS:
        lines = lines[1:]
    return [_cells(line)[0] for line in lines]


def check_unique(names: Sequence[str], where: str) -> None:
    """Refuses a list that names an image twice.

    Raises:
        DataError: an image occurs twice; the message begins with ``where``.
    """
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise DataError(
            f'{where}: {twice!r} is listed twice ({len(names) - len(set(names))} of '
            f'{len(names)} names are repetitions); list every image once.'
        )


def _lines(path: str) -> list[tuple[int, str]]:
    """Returns non-empty lines with their 1-based numbers."""
    found = enumerate(read_lines(path, 'label or split'), 1)
    return [(number, line) for number, line in found if line.strip()]


def _cells(line: str, labels: int | None = None) -> list[str]:
    """Splits a row into name and labels, which are separated by commas, or by spaces after a name
    that may contain spaces.

    Args:
        labels: number of labels. Default: the number of zeros and ones at the end of the row, if at
            least two.
    """
    line = line.strip()
    if ',' in line:
        cells = [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True))]
        if len(cells) == 2 and not set(cells[1].split()) - _HOT.keys():
            return [cells[0], *cells[1].split()]  # NAME,LABEL LABEL ...
        return cells
    words = line.split()
    if labels is None:
        behind = list(itertools.takewhile(_HOT.__contains__, reversed(words[1:])))
        labels = len(behind) if len(behind) > 1 else 0
    labels = min(labels, len(words) - 1)
    name = line if not labels else line.rsplit(maxsplit=labels)[0]
    return [name.strip().strip('"\''), *words[len(words) - labels :]]


def _is_header(cells):
    """Returns whether a first row names columns, and is neither a name with labels nor only a
    name."""
    named = cells[0].casefold() in _NAME_COLUMNS
    return (len(cells) > 1 and any(cell not in _HOT for cell in cells[1:])) or named


def _header(line, path):
    """Returns the classes that a first row names, or None if it is a row of labels.

    Raises:
        DataError: the first column is an index of numbers, or a class is named twice.
    """
    cells = _cells(line)
    if len(cells) < 2 or not _is_header(cells):
        return None
    if cells[0] == '' or cells[0].startswith('Unnamed'):
        raise DataError(
            f'{path}: its first column has no name, as an index of row numbers has; write the '
            'table without it (pandas: to_csv(index=False)), with the names of the images first.'
        )
    classes = cells[1:]
    check_class_names(classes, f'{path}, header')
    return tuple(classes)


def _rows(
    path: str, lines: Sequence[tuple[int, str]], num_classes: int, said_by: str
) -> LabelTable:
    seen: dict[str, int] = {}
    labels = np.zeros((len(lines), num_classes), np.uint8)
    for row, (number, line) in enumerate(lines):
        name, *cells = _cells(line, num_classes)
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
