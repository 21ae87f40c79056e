"""A comparison as Markdown, CSV or LaTeX."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from rs_mm.analysis.comparison import Comparison, Row
from rs_mm.errors import ConfigError
from rs_mm.files import atomic_write

_HEADER = ('metric', 'group', 'n', 'mean', 'spread', 'difference', 'p', '95 % interval')


def as_markdown(comparison: Comparison) -> str:
    """Writes a Markdown table with the notes below it."""
    lines = [_markdown_row(_HEADER), '|' + '---|' * len(_HEADER)]
    lines += [_markdown_row(_cells(row)) for row in comparison.rows]
    return '\n'.join([*lines, '', *(f'- {note}' for note in comparison.notes)]).rstrip() + '\n'


def as_csv(comparison: Comparison) -> str:
    """Writes a CSV with all digits, and the interval in two columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow([*_HEADER[:-1], 'interval_low', 'interval_high'])
    for row in comparison.rows:
        low, high = row.interval or (math.nan, math.nan)
        numbers = (row.mean, row.spread, row.difference, row.p_value, low, high)
        writer.writerow(
            [row.metric, row.group, row.count]
            + ['' if math.isnan(value) else f'{value:.10g}' for value in numbers]
        )
    return text.getvalue()


def as_latex(comparison: Comparison) -> str:
    """Writes a LaTeX ``tabular`` with rules of booktabs."""
    lines = [
        '\\begin{tabular}{llrrrrrr}',
        '\\toprule',
        ' & '.join(_tex(cell) for cell in _HEADER) + ' \\\\',
        '\\midrule',
    ]
    for row in comparison.rows:
        lines.append(' & '.join(_tex(cell) for cell in _cells(row)) + ' \\\\')
    lines += ['\\bottomrule', '\\end{tabular}']
    return '\n'.join([*lines, *(f'% {note}' for note in comparison.notes)]) + '\n'


FORMATS = {'.md': as_markdown, '.csv': as_csv, '.tex': as_latex}


def write(comparison: Comparison, path: str | Path) -> None:
    """Writes a table in the format of its suffix.

    Raises:
        ConfigError: the suffix is none of ``.md``, ``.csv`` and ``.tex``.
    """
    check_suffix(path)
    with atomic_write(path, 'w', encoding='utf-8') as file:
        file.write(FORMATS[Path(path).suffix](comparison))


def check_suffix(path: str | Path) -> None:
    """Refuses a name with an unknown suffix."""
    if Path(path).suffix not in FORMATS:
        raise ConfigError(f'--out {path}: the name must end in {", ".join(FORMATS)}.')


def _cells(row: Row):
    interval = '' if row.interval is None else '[{:+.4g}, {:+.4g}]'.format(*row.interval)
    return (
        row.metric,
        row.group,
        str(row.count),
        f'{row.mean:.4g}',
        _number(row.spread, '± {:.2g}'),
        _number(row.difference, '{:+.4g}'),
        _number(row.p_value, '{:.3f}'),
        interval,
    )


def _number(value, form):
    return '' if math.isnan(value) else form.format(value)


def _markdown_row(cells):
    return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'


def _tex(cell):
    special = {'_': '\\_', '%': '\\%', '&': '\\&', '#': '\\#', '±': '$\\pm$'}
    return ''.join(special.get(sign, sign) for sign in cell)
