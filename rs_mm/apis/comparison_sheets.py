"""Pictures of the samples whose scores differ most between two runs."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from rs_mm.analysis.comparison import largest_differences
from rs_mm.apis.testing import draw_rows
from rs_mm.errors import MissingFileError
from rs_mm.evaluation import sample_scores
from rs_mm.visualization import Panel, draw_sheet, save_sheet


def draw_differences(
    first: str | Path,
    second: str | Path,
    show_dir: str | Path,
    count: int = 10,
    metric: str | None = None,
) -> list[Path]:
    """Draws the sheets of both runs, one above the other, for the samples that differ most.

    Args:
        first, second: tables of ``test.py --out-samples`` over the same test set; the note beside
            each (``TABLE.run.json``) names its config and checkpoint.
        show_dir: folder of the pictures.
        count: number of samples.
        metric: score to compare. Default: the first score.

    Returns:
        The pictures, the largest difference first.

    Raises:
        MissingFileError: a table or its note is missing.
    """
    tables = [Path(first), Path(second)]
    rows = [sample_scores.read_csv(path) for path in tables]
    metric = metric or sample_scores.columns(rows[0])[0]
    pairs = largest_differences(rows[0], rows[1], count, metric)
    written = []
    with tempfile.TemporaryDirectory() as scratch:
        drawn = []
        for side, table in enumerate(tables):
            origin = _origin(table)
            folder = Path(scratch) / str(side)
            places = [int(pair[side]['row']) for pair in pairs]
            files = draw_rows(
                origin['config'],
                origin['checkpoint'],
                origin['options'],
                places,
                str(folder),
                work_dir=str(Path(scratch) / f'log{side}'),
            )
            drawn.append([folder / files[place] for place in places])
        for number, (pair, shown) in enumerate(zip(pairs, zip(*drawn))):
            panels = [
                [Panel(np.asarray(Image.open(file).convert('RGB')), _caption(table, row, metric))]
                for file, table, row in zip(shown, tables, pair)
            ]
            name = re.sub(r'[^\w.-]+', '_', pair[0]['sample'])
            path = Path(show_dir) / f'{number:03d}_{name}.png'
            width = max(panel.image.shape[1] for (panel,) in panels)
            save_sheet(path, draw_sheet(panels, title=pair[0]['sample'], panel_size=width))
            written.append(path)
    return written


def _caption(table, row, metric):
    return (
        f'{table.parent.parent.name}/{table.parent.name}/{table.name}: {metric} {row[metric]:.3f}'
    )


def _origin(table):
    note = Path(f'{table}.run.json')
    if not note.is_file():
        raise MissingFileError(
            f'there is no {note}, which says how {table.name} was made; test.py --out-samples '
            'writes both.'
        )
    return json.loads(note.read_text())
