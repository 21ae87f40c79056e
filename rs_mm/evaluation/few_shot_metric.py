"""Class-mean IoU and foreground-background IoU of few-shot segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from rs_mm.errors import DataError
from rs_mm.registry import METRICS

from .sample_scores import unique_names


def episode_areas(
    pred: Tensor, target: Tensor, ignore: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Counts the pixels of each episode's intersections and unions.

    Args:
        pred: (N, H, W), 0 or 1.
        target: (N, H, W), 0 or 1.
        ignore: (N, H, W), 1 where a pixel is left out.

    Returns:
        Intersection and union, (2, N) int64; row 0 is the background.

    Raises:
        DataError: an ignored pixel is foreground in the target.
    """
    pred, target = pred.flatten(1).bool(), target.flatten(1).bool()
    known = torch.ones_like(pred)
    if ignore is not None:
        known = ~ignore.flatten(1).bool()
        if (target & ~known).any():
            raise DataError('a pixel is ignored and foreground at the same time.')
    foreground = (pred & target).sum(1), ((pred & known) | target).sum(1)
    background = (~pred & ~target & known).sum(1), ((~pred | ~target) & known).sum(1)
    intersection, union = (torch.stack(pair) for pair in zip(background, foreground))
    return intersection, union


def iou_scores(
    intersection: np.ndarray, union: np.ndarray, class_ids: Sequence[int]
) -> tuple[float, float, np.ndarray]:
    """Computes scores of areas that are added up per class.

    Args:
        intersection, union: (2, C) areas; row 0 is the background.
        class_ids: the classes that count; a class without episodes counts 0.

    Returns:
        MIoU (mean of the classes' foreground IoU) and FB-IoU (mean
        of background and foreground, each over the sums of all classes), both in percent, and the
        IoU of each class in percent.
    """
    inter = np.asarray(intersection, np.float64)[:, list(class_ids)]
    union = np.asarray(union, np.float64)[:, list(class_ids)]
    by_class = 100 * inter[1] / np.maximum(union[1], 1)
    both = inter.sum(1) / np.maximum(union.sum(1), 1)
    return by_class.mean(), 100 * both.mean(), by_class


def _percent(part, whole):
    return 100 * part / whole if whole else float('nan')


@METRICS.register_module(name=['FewShotMetric', 'FewShotIoU'])
class FewShotMetric(BaseMetric):
    """A metric of ``mIoU`` and ``FB-IoU`` in percent, with a table of the classes in the log.

    Areas are added up per class over the whole run, without ignored pixels and without queries that
    have no mask. All classes of the dataset's split enter the mean. Source: the published
    evaluation of SCCNet and HSNet.

    Args:
        use_ignore: whether ignored pixels are left out.
        prefix: prefix of the metric names.

    Attributes:
        sample_scores: after a test, a row per episode: ``IoU`` of the class and ``FB_IoU``, its
            mean with the background's; percent.
    """

    def __init__(
        self, use_ignore: bool = True, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.use_ignore = use_ignore
        self.sample_scores: list[dict] = []

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            if 'gt_mask' not in sample:
                self.results.append((sample['class_id'], None, None, sample['query_name']))
                continue
            ignore = sample['ignore'] if self.use_ignore and 'ignore' in sample else None
            pred = sample['pred_mask'].cpu()
            try:
                areas = episode_areas(
                    pred[None],
                    sample['gt_mask'][None].cpu(),
                    None if ignore is None else ignore[None].cpu(),
                )
            except DataError as error:
                raise DataError(f'query {sample["query_name"]}: {error}') from error
            name = f'{sample["query_name"]} {sample.get("class_name", sample["class_id"])}'
            self.results.append((sample['class_id'], *(a[:, 0].tolist() for a in areas), name))

    def result_keys(self) -> list[str]:
        """Returns the names of the results."""
        return ['mIoU', 'FB-IoU']

    def compute_metrics(self, results: list) -> dict[str, float]:
        classes, class_ids = self.dataset_meta['classes'], self.dataset_meta['class_ids']
        count = len(results)
        results = [result for result in results if result[1] is not None]
        if not results:
            raise DataError(
                f'none of the {count} queries has a mask that shows its class, so nothing can '
                'be scored; tools/predict_fewshot.py predicts without scores.'
            )
        names = unique_names([result[3] for result in results])
        self.sample_scores = [
            dict(sample=name, row=row, IoU=_percent(inter[1], union[1]), FB_IoU=both)
            for row, (name, (_, inter, union, _)) in enumerate(zip(names, results))
            for both in [(_percent(inter[0], union[0]) + _percent(inter[1], union[1])) / 2]
        ]
        intersection = np.zeros((2, len(classes)))
        union = np.zeros((2, len(classes)))
        labels = np.array([result[0] for result in results])
        np.add.at(intersection.T, labels, np.array([result[1] for result in results]))
        np.add.at(union.T, labels, np.array([result[2] for result in results]))
        mean, fb, by_class = iou_scores(intersection, union, class_ids)
        rows = [
            f'{classes[label]:>20}  {iou:6.2f}  {(labels == label).sum():8d}'
            for label, iou in zip(class_ids, by_class)
        ]
        MMLogger.get_current_instance().info(
            '\n'.join([f'{"class":>20}  {"IoU":>6}  {"episodes":>8}', *rows])
        )
        return {'mIoU': float(mean), 'FB-IoU': float(fb)}


FewShotIoU = FewShotMetric  # its name until version 0.1
