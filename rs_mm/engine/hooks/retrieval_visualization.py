"""Pictures of queries and their results after a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs_mm.errors import ConfigError
from rs_mm.registry import HOOKS
from rs_mm.visualization.retrieval_sheet import draw_retrieval, result_panel, to_rgb
from rs_mm.visualization.sheet import save_sheet


@HOOKS.register_module()
class RetrievalVisualizationHook(Hook):
    """Draws queries with their best results, from the metric :class:`MultiLabelRetrievalMetric`.

    Args:
        draw: whether to draw at all; ``tools/test.py --show-dir`` sets it.
        out_dir: folder of the pictures; default: ``vis`` in the run's log folder.
        show: whether to open each picture in a window.
        num_queries: number of drawn queries, spread evenly over all.
        topk: results per query.
        bands: bands of the loaded image for red, green and blue.
    """

    def __init__(
        self,
        draw: bool = False,
        out_dir: str | None = None,
        show: bool = False,
        num_queries: int = 20,
        topk: int = 10,
        bands: Sequence[int] = (0, 1, 2),
    ) -> None:
        self.draw, self.out_dir, self.show = draw, out_dir, show
        self.num_queries, self.topk, self.bands = num_queries, topk, tuple(bands)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if not (self.draw or self.show) or not is_main_process():
            return
        found = self._found(runner)
        dataset = runner.test_loop.dataloader.dataset
        folder = Path(self.out_dir or Path(runner.log_dir) / 'vis')
        places = np.unique(np.linspace(0, len(found.queries) - 1, self.num_queries).astype(int))
        for place in places:
            name, sheet = self.sheet(found, dataset, place)
            if self.draw:
                save_sheet(folder / f'{name}.png', sheet)
            if self.show:
                runner.visualizer.show(sheet, win_name=name)
        if self.draw:
            runner.logger.info(f'The pictures are in {folder}')

    @staticmethod
    def _found(runner):
        found = [
            m.retrieved
            for m in runner.test_evaluator.metrics
            if getattr(m, 'retrieved', None) is not None
        ]
        if not found:
            raise ConfigError(
                '--show-dir: no metric of test_evaluator ranks images; '
                'add dict(type="MultiLabelRetrievalMetric").'
            )
        return found[0]

    def draw_chosen(self, runner: Runner, rows: Sequence[int]) -> dict[int, str]:
        """Draws the queries at some rows of the dataset after a test.

        Returns:
            Row -> the picture's file name.
        """
        if not is_main_process():
            return {}
        found, dataset = self._found(runner), runner.test_loop.dataloader.dataset
        folder, drawn = Path(self.out_dir or Path(runner.log_dir) / 'vis'), {}
        places = {int(query): place for place, query in enumerate(found.queries)}
        for row in rows:
            if row in places:  # an image that only KNNMetric scored is not a query
                name, sheet = self.sheet(found, dataset, places[row])
                drawn[row] = f'{name}.png'
                save_sheet(folder / drawn[row], sheet)
        return drawn

    def sheet(self, retrieved: Any, dataset: Any, place: int) -> tuple[str, np.ndarray]:
        """Returns name and picture of the query at ``place``."""
        query = int(retrieved.queries[place])
        classes = dataset.metainfo.get('classes')
        wanted = retrieved.labels[query]

        def panel(row, similarity=None, overlap=None):
            labels = retrieved.labels[row] > 0
            words = [classes[i] if classes else f'class {i}' for i in np.flatnonzero(labels)]
            image = load_display_image(dataset, row, self.bands)
            return result_panel(image, retrieved.names[row], words, similarity, overlap)

        results = []
        for row, similarity in zip(
            retrieved.results[place, : self.topk], retrieved.similarity[place]
        ):
            labels = retrieved.labels[row]
            overlap = np.minimum(labels, wanted).sum() / max(np.maximum(labels, wanted).sum(), 1)
            results.append(panel(int(row), float(similarity), float(overlap)))
        name = retrieved.names[query]
        title = f'Query {name} and its {len(results)} best matches'
        return name, draw_retrieval(panel(query), results, title)


def load_display_image(dataset: Any, row: int, bands: Sequence[int]) -> np.ndarray:
    """Returns image ``row`` of a dataset as RGB uint8, before resizing and normalisation.

    For a dataset without its own pipeline (e.g. a concatenation) the stretched input of the network
    is shown.
    """
    pipeline = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    if pipeline:
        return to_rgb(pipeline[0](dataset.get_data_info(row))['img'], bands)
    return to_rgb(dataset[row]['inputs'].numpy().transpose(1, 2, 0), bands)
