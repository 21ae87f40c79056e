"""Pictures of queries and their best hits, after a test of composed retrieval."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs_mm.datasets.transforms.clip_images import LoadRGBImage
from rs_mm.registry import HOOKS
from rs_mm.retrieval.composed import top_k
from rs_mm.visualization import save_sheet
from rs_mm.visualization.composed_sheet import Hit, draw_composed_query


@HOOKS.register_module()
class ComposedRetrievalVisualizationHook(Hook):
    """Draws some queries of every set: image, text, and the k best images of every method.

    A method that was evaluated at several lambdas is drawn with the best lambda.

    Args:
        draw: whether to draw at all; ``tools/test.py --show-dir`` sets it.
        out_dir: folder of the pictures. Default: ``vis`` in the run's log folder.
        show: whether to open each picture in a window.
        queries_per_set: number of queries, spread evenly over the set's pairs.
        k: number of hits.
    """

    def __init__(
        self,
        draw: bool = False,
        out_dir: str | None = None,
        show: bool = False,
        queries_per_set: int = 3,
        k: int = 8,
    ) -> None:
        self.draw, self.out_dir, self.show = draw, out_dir, show
        self.queries_per_set, self.k = queries_per_set, k

    def after_test(self, runner: Runner) -> None:
        if not (self.draw or self.show) or not is_main_process():
            return
        report = runner.test_loop.report
        rows, start = [], 0
        for queries in report.queries:
            rows += [start + pair for pair in _spread(len(queries), self.queries_per_set)]
            start += len(queries)
        self.draw_chosen(runner, rows, save=self.draw, show=self.show)

    def draw_chosen(
        self, runner: Runner, rows: Sequence[int], save: bool = True, show: bool = False
    ) -> dict[int, str]:
        """Draws some queries after a test.

        Args:
            runner: the runner after its test loop.
            rows: queries, counted through all sets.
            save, show: whether to write the pictures, and to open them in windows.

        Returns:
            Row -> the picture's file name.
        """
        if not is_main_process():
            return {}
        folder, drawn = Path(self.out_dir or Path(runner.log_dir) / 'vis'), {}
        report, archive = runner.test_loop.report, runner.test_loop.archive
        # the fusions of the metric hold the statistics of the archive
        features = archive.features.to(report.prompt_features[0][0].device)
        places = [
            (queries, prompts, pair)
            for queries, prompts in zip(report.queries, report.prompt_features)
            for pair in range(len(queries))
        ]
        for row in rows:
            queries, prompts, pair = places[row]
            picture = self._sheet(report, archive, features, queries, prompts, pair)
            text = queries.prompts[queries.texts[pair]]
            name = f'{queries.name}_{pair:05d}_{queries.labels[pair]}_{text}'
            name = re.sub(r'\W+', '-', name)  # a text may hold what a file name may not
            drawn[row] = f'{name}.png'
            if save:
                save_sheet(folder / drawn[row], picture)
            if show:
                runner.visualizer.show(picture, win_name=name)
        if save:
            runner.logger.info(f'{len(rows)} sheets are in {folder}')
        return drawn

    def _sheet(self, report, archive, features, queries, prompts, pair):
        fusions = report.best_fusions()
        prompts = [prompts[report.fusions.index(fusion)] for fusion in fusions]
        best, _ = top_k(queries, pair, features, prompts, fusions, self.k)
        answers = set(queries.answers[queries.groups[pair]].tolist())
        load = LoadRGBImage()
        pictures = {
            int(i): load.transform(dict(img_path=archive.paths[i]))['img']
            for i in {*best.flatten().tolist(), int(queries.images[pair])}
        }
        query = int(queries.images[pair])
        rows = [
            (
                fusion.name,
                [
                    Hit(
                        pictures[i],
                        Path(archive.names[i]).stem + '\n(the query)' * (i == query),
                        i in answers,
                    )
                    for i in found.tolist()
                ],
            )
            for fusion, found in zip(fusions, best)
        ]
        text = queries.prompts[queries.texts[pair]]
        title = (
            f'{queries.name}: {queries.labels[pair]} + "{text}" '
            f'({len(answers)} correct answers in {len(archive.names)} images)'
        )
        return draw_composed_query(pictures[query], text, rows, title)


def _spread(total, count):
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()
