"""Labels and splits of BigEarthNet v2, from its parquet tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import DataError, MissingFileError
from rs_mm.limits import check_inside

from ..label_tables import check_unique
from .labels import check_labels, encode

_SPLITS = dict(
    train='train',
    training='train',
    validation='val',
    valid='val',
    val='val',
    test='test',
    testing='test',
)


class Metadata:
    """Labels and splits of patches.

    Args:
        tables: parquet files with ``patch_id``, ``labels`` and, if there are splits, ``split``.

    Attributes:
        splits: ``train``, ``val``, ``test`` -> patch names.

    Raises:
        MissingFileError: a table does not exist.
        DataError: a file is not such a table, names no patch or a patch twice, or has an unknown
            split.
    """

    def __init__(self, tables: Sequence[Path]) -> None:
        self._labels: dict[str, list] = {}
        self.splits: dict[str, list[str]] = {}
        for table in tables:
            self._add(Path(table))

    def _add(self, path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not path.is_file():
            raise MissingFileError(
                f'{path}: no such table; BigEarthNet v2 keeps its labels in it, '
                'name it with --metadata.'
            )
        try:
            table = pq.read_table(path)
            names, labels = (table.column(key).to_pylist() for key in ('patch_id', 'labels'))
        except (pa.ArrowException, KeyError) as error:
            raise DataError(
                f'{path}: not a table with `patch_id` and `labels` ({error}).'
            ) from error
        nameless = [row for row, name in enumerate(names) if not isinstance(name, str)]
        if nameless:
            raise DataError(
                f'{path}: row {nameless[0]} has no `patch_id` ({len(nameless)} row(s) have none).'
            )
        for name in names:
            check_inside(name, path)
        check_unique([*self._labels, *names], str(path))
        self._labels.update(zip(names, labels))
        if 'split' in table.column_names:
            self._add_splits(path, names, table.column('split').to_pylist())

    def _add_splits(self, path, names, words):
        unknown: dict[str, list[str]] = {}
        for name, word in zip(names, words):
            split = _SPLITS.get(str(word).strip().casefold())
            if split is None:
                unknown.setdefault(str(word), []).append(name)
            else:
                self.splits.setdefault(split, []).append(name)
        if unknown:
            listed = ', '.join(f'{word!r} ({len(of)})' for word, of in unknown.items())
            raise DataError(
                f'{path}: the column `split` holds {listed}, e.g. for '
                f'{next(iter(unknown.values()))[0]}; it must be train, validation or test.'
            )

    def names(self) -> list[str]:
        """Returns all patches, sorted."""
        return sorted(self._labels)

    def label(self, name: str) -> np.ndarray:
        """Returns the multi-hot labels (19,) uint8 of a patch.

        Raises:
            DataError: no table has the patch, or its labels are not a list of the 19 names.
        """
        if name not in self._labels:
            raise DataError(f'{name} is in no metadata table')
        check_labels(self._labels[name], name)
        return encode(self._labels[name], 19)
