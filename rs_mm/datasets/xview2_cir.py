"""xView2-CIR: find the image after a disaster by the image before it and a text."""

from __future__ import annotations

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

PACKED = Path(__file__).parent / 'labels' / 'xview2_cir.csv.gz'
TEXTS = ('default', 'alt1', 'alt2')
HEADER = ['image', *(f'query_{text}' for text in TEXTS), 'target']


@dataclass(frozen=True)
class Row:
    """One query: image before, its three texts, image after, and the line's number."""

    image: str
    texts: tuple[str, str, str]
    target: str
    line: int

    @property
    def event(self) -> str:
        """The kind of disaster, ``fire`` for ``post fire``; the texts depend only on it."""
        return self.texts[0].removeprefix('post ')


def read_list(path: str | Path = PACKED) -> list[Row]:
    """Reads the list; its header is ``image,query_default,query_alt1,query_alt2,target``.

    Raises:
        MissingFileError: the file does not exist.
        DataError: the header is wrong, or a row does not have five filled fields; the message names
            the line.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'there is no list {path}.')
    lines = read_csv(path, 'list')
    if not lines or lines[0] != HEADER:
        raise DataError(f'{path}, line 1: expected the header "{",".join(HEADER)}".')
    rows = []
    for number, fields in enumerate(lines[1:], 2):
        fields = [field.strip() for field in fields]
        if len(fields) != len(HEADER) or not all(fields):
            raise DataError(
                f'{path}, line {number}: expected {len(HEADER)} filled fields '
                f'({",".join(HEADER)}), got "{",".join(fields)}".'
            )
        rows.append(Row(fields[0], (fields[1], fields[2], fields[3]), fields[4], number))
    return rows


@DATASETS.register_module()
class XView2CIR(Dataset):
    """291 queries over the test images of xView2: before a disaster + text -> after it.

    The list is part of rs_mm; the images come from xview2.org. The authors published no evaluation.
    In this class the only correct answer of a query is its target, and the queries of one kind of
    disaster are a set, which is evaluated like an attribute of PatternCom.

    Args:
        texts: which of the three texts to use: ``default``, ``alt1`` or ``alt2``; or ``all``: a set
            for each kind of disaster and text, e.g. ``fire, alt1``.
        list_file: another list in the same format.
    """

    def __init__(self, texts: str = 'default', list_file: str | None = None) -> None:
        if texts not in (*TEXTS, 'all'):
            raise ConfigError(
                f'XView2CIR: texts={texts!r}; choose one of {", ".join(TEXTS)}, or all.'
            )
        self.variants = list(range(len(TEXTS))) if texts == 'all' else [TEXTS.index(texts)]
        self.path = Path(list_file or PACKED)
        self.rows = read_list(self.path)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        """Returns the query at ``index``: image, kind of disaster, text, target."""
        row = self.rows[index]
        prompts = [row.texts[i] for i in self.variants]
        return dict(image=row.image, attribute=row.event, prompts=prompts, target=row.target)

    @property
    def prompts(self) -> list[str]:
        """Returns the texts of all queries, each once, sorted."""
        return sorted({row.texts[i] for row in self.rows for i in self.variants})

    def query_sets(self, names: Sequence[str]) -> list[QuerySet]:
        """Returns the queries over an archive, one set per kind of disaster.

        Args:
            names: base names of the archive's images, in its order.

        Raises:
            DataError: the archive has none of the pairs, or a base name twice.
        """
        place = places_by_name(names)
        known, lost = [], []
        for row in self.rows:
            both = [Path(path).name in place for path in (row.image, row.target)]
            (known if all(both) else lost).append(row)
        if not known:
            raise DataError(
                f'{self.path}: the archive has none of its {len(lost)} pairs (the '
                f'first is {Path(lost[0].image).name}); does it hold the test images '
                'of xView2?'
            )
        if lost:
            some = ', '.join(f'line {row.line} {Path(row.image).name}' for row in lost[:10])
            warnings.warn(
                f'{self.path}: {len(lost)} of {len(self.rows)} rows name an image the '
                f'archive lacks and are skipped: {some}{", …" * (len(lost) > 10)}',
                stacklevel=2,
            )
        return [
            self._query_set(event, [row for row in known if row.event == event], i, place)
            for event in sorted({row.event for row in known})
            for i in self.variants
        ]

    def _query_set(self, event, rows, variant, place):
        prompts = sorted({row.texts[variant] for row in rows})
        return QuerySet(
            name=event if len(self.variants) == 1 else f'{event}, {TEXTS[variant]}',
            images=torch.tensor([place[Path(row.image).name] for row in rows]),
            prompts=prompts,
            texts=torch.tensor([prompts.index(row.texts[variant]) for row in rows]),
            answers=[torch.tensor([place[Path(row.target).name]]) for row in rows],
            groups=torch.arange(len(rows)),
            labels=[Path(row.image).name.split('_')[0] for row in rows],
        )
