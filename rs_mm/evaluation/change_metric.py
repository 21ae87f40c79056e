"""The scores of change detection, summed over a whole dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from prettytable import PrettyTable

from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import METRICS

from .change_scores import change_scores, confusion_matrix, mean_over_classes
from .curves import Confusion, Curve, curve_of_bins, probability_bins
from .sample_scores import unique_names

# class columns by mmseg's name of the group
_GROUPS = dict(mFscore=('Fscore', 'Precision', 'Recall'), mIoU=('IoU', 'Acc'))

# scores of each class except the first
_OF_CLASS = dict(F1='Fscore', Precision='Precision', Recall='Recall', IoU='IoU')


def _name(sample):
    path = sample.get('img_path') or ['pair']
    path = path if isinstance(path, str) else path[0]
    return sample.get('pair_name') or Path(path).stem


def _probabilities(logits):
    """Converts logits (C, H, W), or one channel for a sigmoid, to probabilities of the classes."""
    if len(logits) == 1:
        changed = logits.float().sigmoid()
        return torch.cat([1 - changed, changed])
    return logits.float().softmax(0)


def _pair_scores(counts, classes):
    """Returns the scores of one pair: means over the classes except the first, and with more than
    two classes the scores of each.

    A class that is neither present nor predicted is left out.
    """
    scores = change_scores(counts)
    hit, wrong = np.diag(counts), counts.sum(0) + counts.sum(1)
    with np.errstate(divide='ignore', invalid='ignore'):
        f1 = 2 * hit / wrong  # 0, not NaN, if a class is missed completely
    row = dict(
        IoU=100 * mean_over_classes(scores['IoU'][1:]),
        F1=100 * mean_over_classes(f1[1:]),
        accuracy=100 * float(scores['aAcc']),
    )
    if len(classes) > 2:
        row.update({f'IoU_{name}': 100 * float(scores['IoU'][i]) for i, name in _others(classes)})
    return row


def _others(classes):
    return list(enumerate(classes))[1:]


@METRICS.register_module()
class ChangeMetric(BaseMetric):
    """A metric of F1, precision, recall, IoU of *changed*, overall accuracy, kappa, and class
    means.

    Pixels are counted over the whole dataset before the division. Results are in percent, rounded
    to two decimals, with these keys (for ``save_best`` and in the log):

    - ``F1_changed``, ``Precision_changed``, ``Recall_changed``, ``IoU_changed``: the class of
      published tables (in general every class except the first, with its name);
    - ``aAcc`` (overall accuracy), ``kappa``;
    - ``mFscore``, ``mPrecision``, ``mRecall``, ``mIoU``, ``mAcc``: means over classes, NaN left
      out. A class that occurs neither in the labels nor in the predictions is NaN.

    Args:
        iou_metrics: groups of class means to report, of ``mFscore`` and ``mIoU``.
        ignore_index: label that is left out.
        beta: weight of the recall in the F-score.
        nan_to_num: fraction that is reported instead of NaN.
        collect_device, prefix: as in mmengine's ``BaseMetric``.

    Attributes:
        keep_curves: set before a test to collect the data for ``curves``.
        sample_scores: after a test, a row per pair: ``IoU``, ``F1`` (means over the classes except
            the first), ``accuracy``, and with more than two classes ``IoU_NAME``; in percent.
        confusion, curves: after a test, see :mod:`rs_mm.evaluation.curves`.

    Examples:
        >>> val_evaluator = dict(type='ChangeMetric')
        >>> default_hooks = dict(checkpoint=dict(save_best='F1_changed', rule='greater'))
    """

    def __init__(
        self,
        iou_metrics: Sequence[str] = ('mFscore', 'mIoU'),
        ignore_index: int = 255,
        beta: float = 1.0,
        nan_to_num: float | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.iou_metrics = list(iou_metrics)
        if not set(self.iou_metrics) <= set(_GROUPS):
            raise ConfigError(
                f'iou_metrics={iou_metrics!r} of ChangeMetric must be a list of some '
                f'of {", ".join(_GROUPS)}.'
            )
        self.ignore_index = ignore_index
        self.beta = beta
        self.nan_to_num = nan_to_num
        self.keep_curves = False
        self.sample_scores: list[dict] = []
        self.confusion: Confusion | None = None
        self.curves: dict[str, Curve] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts the pixels of each sample: one small matrix per sample is kept."""
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            if 'gt_sem_seg' not in sample:
                raise DataError(
                    'a score needs labels: name seg_map_path in data_prefix, or '
                    'predict without scores by tools/predict_change.py.'
                )
            prediction = sample['pred_sem_seg']['data'].squeeze(0)
            label = sample['gt_sem_seg']['data'].squeeze(0).to(prediction.device)
            counts = confusion_matrix(prediction, label, num_classes, self.ignore_index).numpy()
            bins = None
            if self.keep_curves and 'seg_logits' in sample:
                logits = sample['seg_logits']['data'].to(label.device)
                bins = probability_bins(_probabilities(logits), label, self.ignore_index)
            self.results.append((_name(sample), counts, bins))

    def result_keys(self) -> list:
        """Returns the names of the results; the classes must be known."""
        means = [f'm{column}' for group in self.iou_metrics for column in _GROUPS[group]]
        return [
            'aAcc',
            'kappa',
            *means,
            *(
                f'{short}_{name}'
                for name in self.dataset_meta['classes'][1:]
                for short in _OF_CLASS
            ),
        ]

    def compute_metrics(self, results: list) -> dict:
        """Adds up the counts of all samples, computes the scores and logs a table per class."""
        names, counts, bins = zip(*results)
        classes = list(self.dataset_meta['classes'])
        self.sample_scores = [
            dict(sample=name, row=row, **_pair_scores(matrix, classes))
            for row, (name, matrix) in enumerate(zip(unique_names(names), counts))
        ]
        self.confusion = Confusion(sum(counts), classes)
        if all(part is not None for part in bins):
            total = sum(bins)
            self.curves = {
                name: curve_of_bins(total[i]) for i, name in enumerate(classes[1:], start=1)
            }
        scores = change_scores(sum(counts), self.beta)
        if self.nan_to_num is not None:
            scores = {k: np.nan_to_num(v, nan=self.nan_to_num) for k, v in scores.items()}
        columns = [c for group in self.iou_metrics for c in _GROUPS[group]]
        self._log_table(scores, columns)
        summary = {key: scores[key] for key in ('aAcc', 'kappa')}
        summary.update({f'm{c}': mean_over_classes(scores[c]) for c in columns})
        for i, name in enumerate(self.dataset_meta['classes'][1:], start=1):
            summary.update(
                {f'{short}_{name}': scores[column][i] for short, column in _OF_CLASS.items()}
            )
        return {key: round(float(value) * 100, 2) for key, value in summary.items()}

    def _log_table(self, scores, columns):
        table = PrettyTable()
        table.add_column('Class', list(self.dataset_meta['classes']))
        for column in columns:
            table.add_column(column, np.round(scores[column] * 100, 2))
        print_log(
            'per class results:\n' + table.get_string(), logger=MMLogger.get_current_instance()
        )
