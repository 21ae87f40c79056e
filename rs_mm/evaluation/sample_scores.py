"""A row of scores per sample, as a table: what comparisons and --worst start from."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.files import atomic_write
from rs_mm.tables import read_records

Row = dict[str, Any]


def of_metrics(metrics: Iterable[Any]) -> list[Row]:
    """The rows of every metric that keeps some, those of one sample joined.

    Args:
        metrics: after ``compute_metrics``; one that keeps rows has ``sample_scores``, dicts with
            ``sample`` (a name) first, ``row`` (its place in the dataset) and scores, higher is
            better, NaN where undefined.

    Raises:
        ConfigError: no metric keeps rows.
    """
    joined: dict[str, Row] = {}
    for metric in metrics:
        for row in getattr(metric, 'sample_scores', None) or ():
            joined.setdefault(row['sample'], {}).update(row)
    if not joined:
        raise ConfigError(
            'no metric of test_evaluator scores single samples; ChangeMetric, FewShotMetric, '
            'KNNMetric, MultiLabelRetrievalMetric and ComposedRetrievalMetric do.'
        )
    return list(joined.values())


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, with ``#2``, ``#3`` ... after one that came before."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f'{name}#{seen[name]}')
    return result


def columns(rows: Sequence[Row]) -> list[str]:
    """Names of the scores, in the order they first appear."""
    return [key for key in dict.fromkeys(k for row in rows for k in row) if key not in _KEYS]


_KEYS = ('sample', 'row')


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """Writes ``sample, row, SCORE...``; undefined scores are empty."""
    header = [*_KEYS, *columns(rows)]
    with atomic_write(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(header)
        writer.writerows([_cell(row.get(key)) for key in header] for row in rows)


def _cell(value):
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ''
    return f'{value:.10g}' if isinstance(value, float) else value


def read_csv(path: str | Path) -> list[Row]:
    """The rows of :func:`write_csv`.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is no such table.
    """
    if not Path(path).is_file():
        raise MissingFileError(f'there is no table of scores {path}.')
    rows = read_records(path)[1]
    if not rows or 'sample' not in rows[0]:
        raise DataError(
            f'{path} has no column `sample`; it must be written by test.py --out-samples.'
        )
    try:
        return [
            {key: value if key == 'sample' else float(value or 'nan') for key, value in row.items()}
            for row in rows
        ]
    except (TypeError, ValueError) as error:
        raise DataError(f'{path} holds what is no number: {error}.') from error


def worst(rows: Sequence[Row], count: int, key: str | None = None) -> list[Row]:
    """The ``count`` rows of the lowest score, the lowest first; undefined scores are left out.

    Args:
        rows: see :func:`of_metrics`.
        count: how many.
        key: the score. Default: the first one.

    Raises:
        ConfigError: there is no such score.
    """
    known = columns(rows)
    key = key or known[0]
    if key not in known:
        raise ConfigError(f'there is no score {key!r} per sample; there are {", ".join(known)}.')
    scored = [row for row in rows if not math.isnan(row.get(key, math.nan))]
    return sorted(scored, key=lambda row: row[key])[:count]
