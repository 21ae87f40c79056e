"""Evaluation of extracted features by the metrics of a config, for tools/retrieval/evaluate.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch import Tensor

from rs_mm.apis.features.extraction import load_features
from rs_mm.datasets.split_loaders import split_loader
from rs_mm.datasets.wrapped_datasets import dataset_parts
from rs_mm.errors import ConfigError, DataError
from rs_mm.evaluation import KNNMetric, MultiLabelRetrievalMetric
from rs_mm.files import check_file_writable, write_metrics
from rs_mm.launch.config import load_config
from rs_mm.registry import DATASETS, METRICS
from rs_mm.retrieval.cache import FeatureCache


def evaluate_features(
    config: str | Path,
    features: str | Path,
    split: str = 'test',
    reference: str | Path | None = None,
    options: dict | list[str] | None = None,
    out: str | Path | None = None,
) -> dict[str, float]:
    """Evaluates features of tools/retrieval/extract.py, without the model and the images.

    Args:
        config: config with the metrics (``test_evaluator``) and the dataset with the labels.
        features: folder of the features.
        split: the split of the features: ``train``, ``val`` or ``test``.
        reference: features of the training split, which ``KNNMetric``
            searches; without them this metric is left out.
        options: overrides of the config.
        out: ``.json`` for the metrics.

    Returns:
        The metrics.

    Raises:
        ConfigError: no metric of the config works on features, or none needs ``reference``; or
            another model made the reference, or the PCA of a metric.
        DataError: images of the features are missing in the split.
    """
    if out:
        check_file_writable(out, '--out')
    cfg = load_config(config, options)
    init_default_scope(cfg.get('default_scope', 'rs_mm'))
    evaluators = (
        cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    )
    known = [METRICS.get(entry.type) for entry in evaluators]
    metrics = [
        METRICS.build(entry)
        for entry, kind in zip(evaluators, known)
        if kind
        and issubclass(kind, (MultiLabelRetrievalMetric, *([KNNMetric] if reference else [])))
    ]
    if not metrics:
        raise ConfigError(
            f'{config}: no metric of `test_evaluator` works on features alone; '
            'MultiLabelRetrievalMetric does, and with --reference KNNMetric.'
        )
    made_by = FeatureCache(features).made_by
    if reference:
        if not any(isinstance(metric, KNNMetric) for metric in metrics):
            raise ConfigError(
                f'--reference {reference}: {config} has no KNNMetric, which '
                'alone searches it; leave it out.'
            )
        _check_same_model(made_by, FeatureCache(reference).made_by, features, reference)
    vectors, labels, names, classes = labelled(cfg, features, split)
    result = {}
    for metric in metrics:
        metric.dataset_meta = dict(classes=classes)
        if isinstance(metric, MultiLabelRetrievalMetric):
            metric.made_by = made_by
        else:
            metric.set_reference(*labelled(cfg, reference, 'train')[:2])
        metric.process(
            {},
            [
                dict(embedding=vector, gt_label=label, name=name)
                for vector, label, name in zip(vectors, labels, names)
            ],
        )
        result |= {
            f'{metric.prefix}/{key}': value
            for key, value in metric.compute_metrics(metric.results).items()
        }
    if out:
        write_metrics(out, result)
    return result


def _check_same_model(made_by, other, features, reference):
    differing = [key for key in made_by if other.get(key, made_by[key]) != made_by[key]]
    if differing:
        raise ConfigError(
            f'--reference {reference}: another {" and ".join(differing)} made it '
            f'than {features}; extract both with one config and one checkpoint.'
        )


def labelled(
    cfg: Config, features: str | Path, split: str
) -> tuple[Tensor, Tensor, list[str], Sequence[str]]:
    """Returns features (N, D), labels (N, L) float32, names, and classes of a split.

    Raises:
        DataError: an image of the features is not in the split.
    """
    archive = load_features(features)
    parts = [DATASETS.build(part) for part in dataset_parts(split_loader(cfg, split)['dataset'])]
    where = {
        name: (number, row)
        for number, part in enumerate(parts)
        for row, name in enumerate(part.names())
    }
    lost = [name for name in archive.names if name not in where]
    if lost:
        raise DataError(
            f'{features}: {len(lost)} of {len(archive.names)} images are not in the '
            f'{split} split, the first is {lost[0]!r}; name the split they were '
            'extracted from.'
        )
    if len(archive.names) < len(where):
        print_log(
            f'{features} holds {len(archive.names)} of the {len(where)} images of the '
            f'{split} split; the others are left out.',
            'current',
        )
    classes = parts[0].metainfo.get('classes')
    if any(part.metainfo.get('classes') != classes for part in parts):
        raise ConfigError(
            f'--split {split}: its datasets have different classes; evaluate the '
            'features of each by itself.'
        )
    labels = _labels(parts, [where[name] for name in archive.names])
    return archive.features, labels, archive.names, classes


def _labels(parts, places):
    """Returns labels (N, L) of the samples at ``places``, pairs of (number of the part, row in
    it)."""
    rows = [[row for part, row in places if part == number] for number in range(len(parts))]
    # in the order of the parts, and within a part in the order of the places
    found = [torch.from_numpy(part.labels(inside)) for part, inside in zip(parts, rows) if inside]
    order = sorted(range(len(places)), key=lambda i: places[i][0])
    labels = torch.cat(found)
    return torch.empty_like(labels).index_copy_(0, torch.tensor(order), labels)
