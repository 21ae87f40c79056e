"""A check that a PCA comes from the model of the embeddings."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs_mm.datasets.multilabel_dataset import build_pipeline
from rs_mm.datasets.wrapped_datasets import tested_pipeline
from rs_mm.engine.feature_extraction import identity_of
from rs_mm.evaluation import MultiLabelRetrievalMetric


class PCAIdentityHook(Hook):
    """Gives the metrics the identity of the model, with which they refuse a PCA of another
    model."""

    def before_test(self, runner: Runner) -> None:
        """Sets the identity now, because the weights are loaded."""
        metrics = [
            metric
            for metric in getattr(runner.test_evaluator, 'metrics', ())
            if isinstance(metric, MultiLabelRetrievalMetric) and 'path' in (metric.pca or {})
        ]
        if metrics and isinstance(runner, Runner):  # others may hold a share of the weights only
            made_by = identity_of(runner.model, build_pipeline(tested_pipeline(runner.cfg)))
            for metric in metrics:
                metric.made_by = made_by
