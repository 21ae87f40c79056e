"""Pictures of an embedding after a test: a map, and retrieval sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from rs_mm.errors import ConfigError
from rs_mm.registry import HOOKS
from rs_mm.visualization import save_sheet
from rs_mm.visualization.embedding_map import draw_embedding_map, project

from .retrieval_visualization import RetrievalVisualizationHook


@HOOKS.register_module()
class EmbeddingVisualizationHook(RetrievalVisualizationHook):
    """Draws retrieval sheets, and ``embedding_map.png`` with the images that KNNMetric scored.

    The map holds at most 3,000 images, spread evenly over the test set. The arguments are those of
    :class:`RetrievalVisualizationHook`.
    """

    most_images = 3000  # t-SNE takes a minute for this number

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draws if ``tools/test.py --show-dir`` or ``--show`` is given."""
        super().after_test_epoch(runner, metrics)
        if not (self.draw or self.show) or not is_main_process():
            return
        embedded = next(
            (
                metric.embedded
                for metric in runner.test_evaluator.metrics
                if getattr(metric, 'embedded', None) is not None
            ),
            None,
        )
        if embedded is None:
            raise ConfigError(
                '--show-dir: the map shows the images of KNNMetric; add '
                "`dict(type='KNNMetric')` to test_evaluator."
            )
        count = len(embedded.embeddings)
        rows = np.unique(np.linspace(0, count - 1, min(count, self.most_images)).astype(int))
        picture = draw_embedding_map(
            project(embedded.embeddings[rows].numpy()),
            embedded.labels[rows].numpy(),
            embedded.classes,
            f'Embeddings of {len(rows)} test images by t-SNE, by label set',
        )
        if self.draw:
            save_sheet(
                Path(self.out_dir or Path(runner.log_dir) / 'vis') / 'embedding_map.png', picture
            )
        if self.show:
            runner.visualizer.show(picture, win_name='embedding map')
