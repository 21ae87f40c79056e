"""Pictures of composed queries with their results, and of mAP over lambda."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rs_mm.evaluation.composed_retrieval_metric import ComposedReport
from rs_mm.files import atomic_path

from .sheet import Panel, draw_sheet

RIGHT, QUERY = (40, 160, 60), (40, 90, 200)


class Hit(NamedTuple):
    """A found image: picture, caption, and whether it is correct, if known."""

    image: np.ndarray
    caption: str
    right: bool | None = None


def draw_composed_query(
    image: np.ndarray | None,
    text: str | None,
    rows: Sequence[tuple[str, Sequence[Hit]]],
    title: str = '',
    panel_size: int = 160,
) -> np.ndarray:
    """Draws a query and, in a row per method, its best hits.

    Args:
        image: the query image, (H, W, 3) uint8 RGB; None: text only.
        text: the query text; None: image only.
        rows: method and hits, best first; a row without the name of a method continues the row
            above.
        title: heading.
        panel_size: side of a picture in pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    words = f'"{text}"' if text else ''
    if image is None:
        image = np.full((panel_size, panel_size, 3), 245, np.uint8)
    elif text:
        words = f'+ {words}'
    sheet = [
        [Panel(image, f'{words}\n{method}'.strip(), QUERY) if method else None]
        + [Panel(hit.image, hit.caption, RIGHT if hit.right else None) for hit in hits]
        for method, hits in rows
    ]
    judged = any(hit.right is not None for _, hits in rows for hit in hits)
    legend = {'query': QUERY, **({'right answer': RIGHT} if judged else {})}
    return draw_sheet(sheet, title, legend, panel_size)


def draw_lambda_curves(report: ComposedReport, path: str | Path) -> None:
    """Draws mAP over lambda: a line per set, their mean, and the results of single modalities.

    Args:
        report: see :mod:`rs_mm.evaluation.composed_retrieval_metric`.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves, mean_ap = report.curves(), report.columns.index('mAP')
    names = [queries.name for queries in report.queries]
    figure = Figure((8.4 * len(curves), 4.4), layout='constrained')
    FigureCanvasAgg(figure)
    for i, (method, points) in enumerate(curves.items()):
        axes = figure.add_subplot(1, len(curves), i + 1)
        lambdas = [lam for lam, _ in points]
        lines = np.array([values.tolist() for _, values in points]).T
        for name, line in zip(names, lines):
            axes.plot(lambdas, line, marker='.', linewidth=1, alpha=0.8, label=name)
        best = int(lines[-1].argmax())
        axes.plot(
            lambdas,
            lines[-1],
            marker='o',
            color='black',
            linewidth=2.2,
            label=f'average (best {lines[-1][best]:.2f} at {lambdas[best]:g})',
        )
        for fusion, value in zip(report.fusions, report.means[:, mean_ap].tolist()):
            if fusion.name in ('Image only', 'Text only', 'Average'):
                style = {'Image only': ':', 'Text only': '--', 'Average': '-.'}[fusion.name]
                axes.axhline(
                    value,
                    color='grey',
                    linestyle=style,
                    linewidth=1.2,
                    label=f'{fusion.name} ({value:.2f})',
                )
        axes.set(
            xlabel='lambda (share of the text)',
            ylabel='mAP (%)',
            title='\n'.join(textwrap.wrap(f'{method}: mAP over lambda', 60)),
        )
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc='upper left', bbox_to_anchor=(1, 1))
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, dpi=120)
