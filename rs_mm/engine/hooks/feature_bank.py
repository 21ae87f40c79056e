"""Hooks that prepare a model's feature bank for training, and let metrics search it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs_mm.errors import ConfigError, DataError
from rs_mm.evaluation.knn_metric import KNNMetric
from rs_mm.models.memories import FeatureBank
from rs_mm.registry import HOOKS
from rs_mm.unwrap import unwrap


@HOOKS.register_module()
class FeatureBankHook(Hook):
    """Gives every :class:`FeatureBank` its labels before training, and its momentum every epoch.

    Args:
        momentum: (first epoch, momentum) pairs, epochs from 0,
            ascending. Default: 0.5, 0.8 from epoch 80, 0.9 from epoch 120, as published.

    Raises:
        ConfigError: the model has no feature bank, or its size is not that of the training set.
        DataError: the training set has no labels, or its ``sample_idx`` do not name its images.
    """

    def __init__(
        self, momentum: Sequence[tuple[int, float]] = ((0, 0.5), (80, 0.8), (120, 0.9))
    ) -> None:
        epochs = [epoch for epoch, _ in momentum]
        if not epochs or epochs[0] != 0 or epochs != sorted(set(epochs)):
            raise ConfigError(
                'FeatureBankHook: `momentum` needs pairs (first epoch, value) with '
                f'ascending epochs from 0, not {momentum}.'
            )
        self.momentum = momentum

    def before_train(self, runner: Runner) -> None:
        """Fills in the labels; every process gets the memory of rank 0."""
        labels = training_labels(runner.train_dataloader.dataset)
        for bank in _banks(runner):
            if bank.labelled and not torch.equal(bank.labels.cpu(), labels.to(torch.uint8)):
                raise ConfigError(
                    'the checkpoint holds a memory of another training set: its '
                    'labels differ; resume with the set it was trained on.'
                )
            bank.set_labels(labels)
            bank.synchronize()

    def before_train_epoch(self, runner: Runner) -> None:
        """Sets the momentum of this epoch."""
        value = [value for epoch, value in self.momentum if epoch <= runner.epoch][-1]
        for bank in _banks(runner):
            bank.momentum = value


@HOOKS.register_module()
class KNNReferenceHook(Hook):
    """Gives :class:`KNNMetric` the embeddings to search: the memory, or new embeddings.

    Args:
        dataloader: loader of the images to embed again, usually the training set with the test
            pipeline. Default: the model's :class:`FeatureBank`, as published.
    """

    def __init__(self, dataloader: dict | None = None) -> None:
        self.dataloader = dataloader

    def before_train(self, runner: Runner) -> None:
        """Raises an error at once if there are fewer references than neighbours."""
        metrics = getattr(getattr(runner.val_loop, 'evaluator', None), 'metrics', ())
        wanted = max((metric.k for metric in metrics if isinstance(metric, KNNMetric)), default=0)
        if not wanted:
            return
        if self.dataloader is None:
            there = len(_banks(runner)[0].features)
        else:
            there = len(self._loader(runner).dataset)
        if wanted > there:
            raise ConfigError(
                f'KNNMetric: k={wanted} neighbours are requested, but there are {there} '
                'reference images; use a smaller k.'
            )

    def before_val(self, runner: Runner) -> None:
        """Gives the reference to the validation metrics."""
        self._provide(runner, runner.val_evaluator.metrics)

    def before_test(self, runner: Runner) -> None:
        """Gives the reference to the test metrics."""
        self._provide(runner, runner.test_evaluator.metrics)

    def _provide(self, runner, metrics):
        metrics = [metric for metric in metrics if isinstance(metric, KNNMetric)]
        if not metrics:
            return
        if self.dataloader is None:
            bank = _banks(runner)[0]
            if not bank.labelled:
                raise ConfigError(
                    'the memory has never been trained: its labels are not set. Test a checkpoint, '
                    'or embed the training images afresh with `dataloader` of KNNReferenceHook.'
                )
            embeddings, labels = bank.features, bank.labels
        else:
            embeddings, labels = self._embed(runner)
        for metric in metrics:
            metric.set_reference(embeddings, labels)

    def _loader(self, runner):
        if isinstance(self.dataloader, dict):
            self.dataloader = runner.build_dataloader(self.dataloader)
        return self.dataloader

    @torch.no_grad()
    def _embed(self, runner):
        training = runner.model.training
        runner.model.eval()
        found = {}
        for batch in self._loader(runner):
            for sample in runner.model.test_step(batch):
                if 'gt_label' not in sample:
                    raise DataError(
                        f'the reference image {sample.get("name", "?")!r} has no '
                        'label, which KNN needs.'
                    )
                # the index starts at 0 in each part of a concatenation
                place = sample.sample_idx, sample.get('img_path', sample.get('name', ''))
                found[place] = sample.embedding.cpu(), sample.gt_label.cpu()
        runner.model.train(training)
        # each process embeds a part; samplers may give an image to two processes
        parts = dist.all_gather_object(found)
        found = {place: pair for part in parts for place, pair in part.items()}
        pairs = [found[place] for place in sorted(found)]
        return (
            torch.stack([embedding for embedding, _ in pairs]),
            torch.stack([label for _, label in pairs]),
        )


def training_labels(dataset: Any) -> torch.Tensor:
    """Returns the labels (N, L) of a training set; row i belongs to the sample with ``sample_idx``
    i."""
    rows, names = {}, {}
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        index, name = info['sample_idx'], info.get('name', info.get('img_path'))
        if info.get('gt_label') is None:
            raise DataError(f'the training image {name!r} has no label, which the memory needs.')
        if names.setdefault(index, name) != name:
            raise DataError(
                f'sample_idx {index} names two training images, {names[index]!r} and '
                f'{name!r}; train on one dataset instead of a concatenation.'
            )
        rows[index] = np.asarray(info['gt_label'])
    if sorted(rows) != list(range(len(rows))):
        raise DataError(f'the sample_idx of the training set are not 0 to {len(rows) - 1}.')
    return torch.from_numpy(np.stack([rows[index] for index in range(len(rows))]))


def _banks(runner):
    model = unwrap(runner.model)
    banks = [module for module in model.modules() if isinstance(module, FeatureBank)]
    if not banks:
        raise ConfigError(
            'the model has no FeatureBank; add one to a loss, e.g. '
            "`losses=[dict(type='SNDLoss', memory=dict(type='FeatureBank', …))]`, or "
            'remove the hook.'
        )
    return banks
