"""PatternCom: composed queries from attribute tables over PatternNet."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import Dataset

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.registry import DATASETS
from rs_mm.retrieval.composed import QuerySet, places_by_name
from rs_mm.tables import read_csv

ATTRIBUTES = ('color', 'context', 'density', 'existence', 'quantity', 'shape')

# Classes that count as one when correct answers are collected, in every attribute.
MERGED = {
    'denseresidential': 'residential',
    'sparseresidential': 'residential',
    'closedroad': 'road',
    'intersection': 'road',
    'bridge': 'roadpass',
    'overpass': 'roadpass',
    'ferryterminal': 'pier',
    'harbor': 'pier',
    'parkingspace': 'parking',
    'parkinglot': 'parking',
}
# When the values of a class are collected, these classes count as one only in these attributes.
MERGED_PROMPTS = {
    'density': ('residential',),
    'shape': ('road',),
    'context': ('roadpass',),
    'existence': ('pier', 'parking'),
}


@dataclass(frozen=True)
class Row:
    """One line of a table: an image, its value of the attribute, and the line's number."""

    image: str
    value: str
    line: int

    @property
    def class_name(self) -> str:
        """Returns the file name up to its first digit: ``tenniscourt`` of
        ``tenniscourt007.jpg``."""
        return re.match(r'\D*', Path(self.image).stem)[0]

    @property
    def merged_class(self) -> str:
        return MERGED.get(self.class_name, self.class_name)


def read_table(path: str | Path) -> list[Row]:
    """Reads a table of rows ``file name,attribute,value`` without a header.

    Raises:
        MissingFileError: the file does not exist.
        DataError: a line does not have three filled fields; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(
            f'there is no table {path}: put the csv files of PatternCom there, one per attribute.'
        )
    rows = []
    for number, fields in enumerate(read_csv(path), 1):
        fields = [field.strip() for field in fields]
        if len(fields) != 3 or not all(fields):
            raise DataError(
                f'{path}, line {number}: expected "file name,attribute,value", got '
                f'"{",".join(fields)}".'
            )
        rows.append(Row(fields[0], fields[2], number))
    if not rows:
        raise DataError(f'{path} has no rows.')
    return rows


@DATASETS.register_module()
class PatternCom(Dataset):
    """Composed queries over PatternNet (Psomas et al., IGARSS 2024).

    A row gives the value of an attribute for an image. Its queries ask for images of the same class
    with each *other* value that this class has in the table. Correct answers are the images of the
    table with that value whose class, after merging, is the query's class.

    Format: ``ATTRIBUTE.csv`` with rows ``file name,attribute,value``, no header. Images are found
    in the archive by base name. If an image is listed twice, both rows are queries, but only the
    last row counts as an answer.

    Args:
        data_root: folder of the csv files.
        attributes: attributes to read; six are published.
        published_row_shift: True reproduces an error of the official evaluation: for a row whose
            image is missing in the archive, it drops the feature but keeps the row. All later query
            images are then paired with the prompts and the class of another row, and the last rows
            are never used. False skips the row.

    Examples:
        >>> queries = PatternCom('data/PatternCom', attributes=['color'])
        >>> queries.query_sets(['airplane001.jpg', 'airplane002.jpg'])
    """

    def __init__(
        self,
        data_root: str,
        attributes: Sequence[str] = ATTRIBUTES,
        published_row_shift: bool = False,
    ) -> None:
        if (
            not isinstance(attributes, (list, tuple))
            or not attributes
            or (set(attributes) - set(ATTRIBUTES))
        ):
            raise ConfigError(
                f'attributes={attributes!r}: choose a list out of {", ".join(ATTRIBUTES)}.'
            )
        self.published_row_shift = published_row_shift
        self.paths = {name: Path(data_root) / f'{name}.csv' for name in attributes}
        self.tables = {name: read_table(path) for name, path in self.paths.items()}

    def __len__(self) -> int:
        return sum(map(len, self.tables.values()))

    def __getitem__(self, index: int) -> dict:
        """Returns the row at ``index``: image, class, attribute, value, and the texts of its
        queries."""
        for attribute, rows in self.tables.items():
            if index < len(rows):
                row = rows[index]
                return dict(
                    image=row.image,
                    class_name=row.class_name,
                    attribute=attribute,
                    value=row.value,
                    prompts=_alternatives(attribute, rows)[index],
                )
            index -= len(rows)
        raise IndexError(index)

    @property
    def prompts(self) -> list[str]:
        """Returns the texts of all queries, each once, sorted."""
        return sorted({row.value for rows in self.tables.values() for row in rows})

    def query_sets(self, names: Sequence[str]) -> list[QuerySet]:
        """Returns the queries over an archive, one set per attribute.

        Args:
            names: base names of the archive's images, in its order.

        Raises:
            DataError: the archive has no image of a table, or a base name twice, or a table has no
                query because each class has only one value.
        """
        place = places_by_name(names)
        return [self._query_set(name, place) for name in self.tables]

    def _query_set(self, attribute, place):
        rows = self.tables[attribute]
        alternatives = _alternatives(attribute, rows)
        known = [i for i, row in enumerate(rows) if row.image in place]
        self._report_missing(attribute, [row for row in rows if row.image not in place])
        # pairs of the row of the image and the row of prompts and class
        asking = range(len(known)) if self.published_row_shift else known

        last = {row.image: row for row in rows if row.image in place}
        answers = {}
        for name, row in last.items():
            answers.setdefault((row.merged_class, row.value), []).append(place[name])
        prompts = sorted({row.value for row in rows})
        pairs = [
            (place[rows[image].image], prompt, rows[row].merged_class, rows[row].class_name)
            for image, row in zip(known, asking)
            for prompt in alternatives[row]
        ]
        if not pairs:
            raise DataError(f'{self.paths[attribute]} has no query: no class has two values.')
        keys = list(dict.fromkeys((merged, prompt) for _, prompt, merged, _ in pairs))
        number = {key: i for i, key in enumerate(keys)}
        index = {prompt: i for i, prompt in enumerate(prompts)}
        return QuerySet(
            name=attribute,
            images=torch.tensor([pair[0] for pair in pairs], dtype=torch.int64),
            prompts=prompts,
            texts=torch.tensor([index[pair[1]] for pair in pairs], dtype=torch.int64),
            answers=[torch.tensor(sorted(answers.get(key, [])), dtype=torch.int64) for key in keys],
            groups=torch.tensor([number[pair[2], pair[1]] for pair in pairs], dtype=torch.int64),
            labels=[pair[3] for pair in pairs],
        )

    def _report_missing(self, attribute, missing):
        path, listed = self.paths[attribute], self.tables[attribute]
        if len(missing) == len(listed):
            raise DataError(
                f'{path}: none of its {len(listed)} images is in the archive (the '
                f'first is {listed[0].image}); does the archive hold PatternNet?'
            )
        if missing:
            some = ', '.join(f'line {row.line} {row.image}' for row in missing[:10])
            more = ', …' if len(missing) > 10 else ''
            warnings.warn(
                f'{path}: {len(missing)} of {len(listed)} rows name an image the archive '
                f'lacks and are skipped: {some}{more}',
                stacklevel=2,
            )


def _alternatives(attribute, rows):
    """Returns the other values of each row's class, sorted."""
    merged = MERGED_PROMPTS.get(attribute, ())
    groups = [row.merged_class if row.merged_class in merged else row.class_name for row in rows]
    values = {}
    for group, row in zip(groups, rows):
        values.setdefault(group, set()).add(row.value)
    return [sorted(values[group] - {row.value}) for group, row in zip(groups, rows)]
