"""Tables with a row of scores per sample, for comparisons and --worst."""

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


def collect_rows(metrics: Iterable[Any]) -> list[Row]:
    """Joins the rows of all metrics by sample.

    Args:
        metrics: metrics after ``compute_metrics``. A metric with rows has ``sample_scores``: dicts
            with ``sample`` (a name), ``row`` (the position in the dataset) and scores; higher is
            better, NaN if undefined.

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
    """Returns the names, with ``#2``, ``#3`` ... after repeated names."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f'{name}#{seen[name]}')
    return result


def columns(rows: Sequence[Row]) -> list[str]:
    """Returns the names of the scores, in the order of their first occurrence."""
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
    """Reads the rows of :func:`write_csv`.

    Raises:
        MissingFileError: the file does not exist.
        DataError: the file is not such a table.
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
        raise DataError(f'{path} holds a value that is not a number: {error}.') from error


def worst(rows: Sequence[Row], count: int, key: str | None = None) -> list[Row]:
    """Returns the ``count`` rows with the lowest scores, lowest first, without undefined scores.

    Args:
        rows: see :func:`collect_rows`.
        count: number of rows.
        key: the score. Default: the first score.

    Raises:
        ConfigError: the score does not exist.
    """
    known = columns(rows)
    key = key or known[0]
    if key not in known:
        raise ConfigError(f'there is no score {key!r} per sample; there are {", ".join(known)}.')
    scored = [row for row in rows if not math.isnan(row.get(key, math.nan))]
    return sorted(scored, key=lambda row: row[key])[:count]
