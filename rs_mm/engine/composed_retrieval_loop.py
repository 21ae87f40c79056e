"""The test loop of composed retrieval: it extracts features once and evaluates all methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import DataLoader

from rs_mm.errors import ConfigError
from rs_mm.evaluation.composed_retrieval_metric import ComposedRetrievalMetric
from rs_mm.registry import LOOPS
from rs_mm.unwrap import unwrap
from rs_mm.visualization.composed_sheet import draw_lambda_curves

from .feature_extraction import archive_collate, extract_archive


@LOOPS.register_module()
class ComposedRetrievalLoop(BaseLoop):
    """The test loop of a training-free retriever.

    Loads the weights that the config names (unless a checkpoint was given), extracts the archive's
    features or reads them from the cache, evaluates, prints the table, and writes it as
    ``composed_retrieval.csv`` and, with several lambdas, ``lambda_curve.png`` into the log folder.

    After :meth:`run`, ``archive`` and ``report`` hold the data for hooks that draw (on the first
    process).

    Args:
        runner: the runner.
        dataloader: over an ``ImageArchive``, with a ``ChosenSampler``.
        evaluator: one ``ComposedRetrievalMetric``.
        cache_dir: folder of the feature caches, with one folder per archive, model and weights.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict | DataLoader,
        evaluator: dict | Evaluator,
        cache_dir: str = 'work_dirs/features',
    ) -> None:
        if isinstance(dataloader, dict):
            dataloader = dict(
                dataloader,
                collate_fn=dict(type=archive_collate),
                pin_memory=torch.cuda.is_available(),
            )
        super().__init__(runner, dataloader)
        self.evaluator = (
            runner.build_evaluator(evaluator) if isinstance(evaluator, (dict, list)) else evaluator
        )
        self.cache_dir = cache_dir
        self.archive = self.report = None
        metrics = self.evaluator.metrics
        if len(metrics) != 1 or not isinstance(metrics[0], ComposedRetrievalMetric):
            raise ConfigError(
                'ComposedRetrievalLoop takes one test_evaluator, a '
                'ComposedRetrievalMetric, and writes no predictions per sample; '
                'for the metrics as JSON use --out FILE.json.'
            )

    def run(self) -> dict[str, float]:
        """Returns the metrics by ``METHOD/SET/METRIC``, per cent."""
        runner = self.runner
        runner.call_hook('before_test')
        runner.call_hook('before_test_epoch')
        runner.model.eval()
        model = unwrap(runner.model)
        if not runner._load_from:
            model.init_weights()
        _ = self.evaluator.metrics[0].dataset  # bad tables are reported before the long work
        self.archive = extract_archive(runner.model, self.dataloader, self.cache_dir)
        metrics: list[Any] = [self._evaluate(model) if is_main_process() else None]
        broadcast_object_list(metrics)
        summary = {
            name.replace('/average', ''): value
            for name, value in metrics[0].items()
            if name.endswith('/average/mAP')
        }
        runner.call_hook('after_test_epoch', metrics=summary)
        runner.call_hook('after_test')
        return metrics[0]

    def _evaluate(self, model):
        logger, folder = self.runner.logger, Path(self.runner.log_dir)
        device = next(model.parameters()).device
        features = self.archive.features.to(device)
        with torch.no_grad():
            self.report = self.evaluator.metrics[0].evaluate_archive(
                self.archive.names, features, model.encode_text
            )
        pairs = sum(len(queries) for queries in self.report.queries)
        logger.info(
            f'{pairs} queries over {len(self.archive.names)} images\n\n{self.report.table()}\n'
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.report.write_csv(folder / 'composed_retrieval.csv')
        logger.info(f'The table is in {folder / "composed_retrieval.csv"}')
        if self.report.curves():
            draw_lambda_curves(self.report, folder / 'lambda_curve.png')
            logger.info(f'mAP over lambda is drawn in {folder / "lambda_curve.png"}')
        return self.report.metrics()
