"""Curves and tables per class of a test, as PNG and CSV."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rs_mm.evaluation.curves import Confusion, Curve
from rs_mm.files import atomic_path, atomic_write


def write_curves(folder: str | Path, metrics: Iterable[Any]) -> list[Path]:
    """Writes the curves and tables per class of the metrics of a test.

    Args:
        folder: the folder; it is created.
        metrics: metrics with ``confusion`` (:class:`Confusion`), ``curves`` (class ->
            :class:`Curve`) or ``class_scores`` (class -> name -> value).

    Returns:
        The files: ``confusion.png`` and ``.csv``, ``precision_recall.png``, ``threshold.png``,
        ``curve_CLASS.csv``, ``class_scores_METRIC.csv``.
    """
    folder, written = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    for metric in metrics:
        if getattr(metric, 'confusion', None) is not None:
            written += write_confusion(folder, metric.confusion)
        if getattr(metric, 'curves', None):
            written += write_class_curves(folder, metric.curves)
        if getattr(metric, 'class_scores', None):
            path = folder / f'class_scores_{type(metric).__name__}.csv'
            columns = list(next(iter(metric.class_scores.values())))
            rows = [
                [name, *(scores[key] for key in columns)]
                for name, scores in metric.class_scores.items()
            ]
            written.append(_table(path, ['class', *columns], rows))
    return written


def write_confusion(folder: Path, confusion: Confusion) -> list[Path]:
    """Writes a table of counts, and a picture of the shares of each true class."""
    counts, classes = confusion.counts, confusion.classes
    table = _table(
        folder / 'confusion.csv',
        ['true \\ predicted', *classes],
        [[name, *map(int, row)] for name, row in zip(classes, counts)],
    )
    side = 2.5 + 0.8 * len(classes)
    figure = Figure(figsize=(side, side), layout='constrained')
    axes = figure.subplots()
    share = counts / counts.sum(1, keepdims=True).clip(1)
    axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
    for i, row in enumerate(share):
        for j, value in enumerate(row):
            colour = 'white' if value > 0.6 else 'black'
            axes.text(j, i, f'{value:.1%}', ha='center', va='center', color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha='right')
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel='predicted', ylabel='true', title='Share of each true class')
    return [table, _save(figure, folder / 'confusion.png')]


def write_class_curves(folder: Path, curves: dict[str, Curve]) -> list[Path]:
    """Writes a table per class, and precision over recall and F1 over the threshold of all
    classes."""
    written = []
    both = {
        'precision_recall': ('recall', 'precision', 'AP {:.3f}', 'average_precision'),
        'threshold': ('threshold', 'f1', 'best at {:.3f}', 'best_threshold'),
    }
    for stem, (x, y, note, value) in both.items():
        figure = Figure(figsize=(7, 5), layout='constrained')
        axes = figure.subplots()
        for name, curve in curves.items():
            label = f'{name} ({note.format(getattr(curve, value))})'
            axes.plot(getattr(curve, x), getattr(curve, y), label=label, linewidth=1.2)
        axes.set(xlabel=x, ylabel=y.replace('f1', 'F1'), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, ncols=1 + len(curves) // 12)
        written.append(_save(figure, folder / f'{stem}.png'))
    for name, curve in curves.items():
        path = folder / f'curve_{re.sub(r"[^A-Za-z0-9_.-]+", "_", name)}.csv'
        rows = zip(curve.threshold, curve.precision, curve.recall, curve.f1)
        written.append(_table(path, ['threshold', 'precision', 'recall', 'f1'], rows))
    return written


def _table(path, header, rows):
    with atomic_write(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(header)
        writer.writerows([_cell(value) for value in row] for row in rows)
    return path


def _cell(value):
    if isinstance(value, (str, int)):
        return value
    return '' if math.isnan(value) else f'{value:.8g}'


def _save(figure, path):
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, dpi=120)
    return path
