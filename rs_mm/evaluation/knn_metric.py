"""Multi-label scores of K-nearest-neighbour classification on embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from torch import Tensor

from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import METRICS
from rs_mm.retrieval import check_finite
from rs_mm.retrieval.knn import knn_classify

from .curves import Curve, curve_of_scores
from .multilabel_scores import (
    average_precision,
    class_scores,
    f1_scores,
    hamming_loss,
    sample_f1,
)
from .sample_scores import unique_names


class Embedded(NamedTuple):
    """The data of the last evaluation, for pictures.

    Attributes:
        embeddings: (N, D).
        labels: (N, L) of 0 and 1, the true ones.
        classes: L names.
    """

    embeddings: Tensor
    labels: Tensor
    classes: list[str]


@METRICS.register_module(name=['KNNMetric', 'KNNMultiLabel'])
class KNNMetric(BaseMetric):
    """A metric that classifies each embedding by its nearest training embeddings.

    :class:`~rs_mm.engine.hooks.feature_bank.KNNReferenceHook` gives the embeddings to search: the
    memory, as published, or training images that are embedded again. If the model has a classifier,
    its mean average precision over the classes is reported too. Precision, recall and F1 of every
    class go to the log.

    Reported: ``f1_sample`` (the published score), ``f1_macro``, ``f1_micro``, ``hamming_loss`` and
    ``mAP``. A sample without true and without predicted label counts 0, as published. A class
    without training images is never predicted; a class without test images is left out of ``mAP``.

    Args:
        k: number of neighbours. Default: 10, as published.
        max_similarities: limits the working memory, see :func:`rs_mm.retrieval.knn.nearest`.
        collect_device: see mmengine's ``BaseMetric``.
        prefix: see mmengine's ``BaseMetric``.
    """

    default_prefix = 'knn'

    def __init__(
        self,
        k: int = 10,
        max_similarities: int = 2**27,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if k < 1:
            raise ConfigError(f'KNNMetric: `k` must be at least 1, not {k}.')
        self.k, self.max_similarities = k, max_similarities
        self._reference = None
        self.embedded: Embedded | None = None
        self.sample_scores: list[dict] = []
        self.class_scores: dict[str, dict[str, float]] = {}
        self.curves: dict[str, Curve] = {}

    def set_reference(self, embeddings: Tensor, labels: Tensor) -> None:
        """Sets the embeddings to search.

        Args:
            embeddings: (N, D).
            labels: (N, L) of 0 and 1.

        Raises:
            DataError: an embedding is NaN or infinite.
        """
        check_finite(embeddings, range(len(embeddings)), 'reference image')
        self._reference = embeddings.detach().float().clone(), labels.detach().clone()

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps name, embedding, labels and class scores of a batch."""
        for sample in data_samples:
            if 'gt_label' not in sample:
                raise DataError(
                    f'image {sample.get("name", "?")!r} has no label, so its '
                    'prediction cannot be scored.'
                )
            score = sample.get('score')
            # copies, because a row of a tensor would be sent to other processes with the whole
            # tensor
            self.results.append(
                (
                    sample.get('name', '?'),
                    *(
                        None if value is None else value.cpu().clone()
                        for value in (sample['embedding'], sample['gt_label'], score)
                    ),
                )
            )

    def result_keys(self) -> list[str]:
        """Returns the names of the results; ``mAP`` only for a model with a classifier."""
        return ['f1_sample', 'f1_macro', 'f1_micro', 'hamming_loss', 'mAP']

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Returns the scores, each in [0, 1]."""
        if self._reference is None:
            raise ConfigError(
                "KNNMetric has nothing to search: add `dict(type='"
                "KNNReferenceHook')` to `custom_hooks`."
            )
        images, embeddings, labels, scores = zip(*results)
        reference, reference_labels = self._reference
        true = torch.stack(labels).to(reference.device)
        if true.shape[1] != reference_labels.shape[1]:
            raise DataError(
                f'the test images have {true.shape[1]} labels, the reference '
                f'{reference_labels.shape[1]}; both must use one label table.'
            )
        embeddings = torch.stack(embeddings)
        check_finite(embeddings, images)
        names = (self.dataset_meta or {}).get('classes')
        names = list(names or (f'class_{i}' for i in range(true.shape[1])))
        self.embedded = Embedded(embeddings, true.cpu(), names)
        pred = knn_classify(
            embeddings.to(reference), reference, reference_labels, self.k, self.max_similarities
        )
        self.sample_scores = [
            dict(sample=name, row=row, f1_sample=value)
            for row, (name, value) in enumerate(
                zip(unique_names(images), sample_f1(pred, true).tolist())
            )
        ]
        values = {f'f1_{name}': value for name, value in f1_scores(pred, true).items()}
        values['hamming_loss'] = hamming_loss(pred, true)
        precision = None
        if scores[0] is not None:
            precision = average_precision(torch.stack(scores).to(true.device), true)
            values['mAP'] = float(precision.nanmean())
            found = torch.stack(scores).numpy()
            self.curves = {
                name: curve_of_scores(found[:, i], self.embedded.labels[:, i].numpy())
                for i, name in enumerate(names)
            }
        by_class = class_scores(pred, true)
        self.class_scores = {
            name: {key: float(value[i]) for key, value in by_class.items()}
            for i, name in enumerate(names)
        }
        self._log_classes(names, by_class, precision, reference_labels)
        return values

    @staticmethod
    def _log_classes(names, scores, precision, reference_labels):
        support = scores['support'].tolist()
        trained = (reference_labels > 0).sum(0).tolist()
        columns = [scores[key].tolist() for key in ('precision', 'recall', 'f1')]
        header = f'{"class":<16}{"precision":>10}{"recall":>8}{"F1":>8}'
        header += f'{"AP":>8}' if precision is not None else ''
        rows = [f'{header}{"test":>7}{"reference":>11}']
        for i, name in enumerate(names):
            row = f'{name:<16}{columns[0][i]:>10.3f}{columns[1][i]:>8.3f}{columns[2][i]:>8.3f}'
            row += f'{float(precision[i]):>8.3f}' if precision is not None else ''
            rows.append(f'{row}{support[i]:>7}{trained[i]:>11}')
        print_log(
            'KNN by class (numbers of images in the last columns):\n' + '\n'.join(rows),
            logger=MMLogger.get_current_instance(),
        )
        absent = [name for name, count in zip(names, trained) if not count]
        if absent:
            print_log(
                f'no reference image has the label {", ".join(absent)}; it is never predicted.',
                logger=MMLogger.get_current_instance(),
                level=30,
            )


KNNMultiLabel = KNNMetric  # its name until version 0.1
