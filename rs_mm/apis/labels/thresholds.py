"""Choosing thresholds on labelled images and storing them in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rs_mm.checkpoint import load_file
from rs_mm.errors import ConfigError, DataError
from rs_mm.evaluation.label_thresholds import best_threshold, best_thresholds
from rs_mm.evaluation.multilabel_scores import f1_scores
from rs_mm.files import atomic_write
from rs_mm.launch.config import load_config
from rs_mm.registry import DATASETS

from .predictor import THRESHOLDS, LabelPredictor


@dataclass
class ChosenThresholds:
    """The result of :func:`choose_thresholds`.

    Attributes:
        classes: names of the L classes.
        values: (L,) the thresholds.
        before: sample, macro and micro F1 on the images of the choice, with the default thresholds.
        after: the same with the chosen thresholds.
        path: the checkpoint that holds them.
    """

    classes: list[str]
    values: list[float]
    before: dict[str, float]
    after: dict[str, float]
    path: Path


def choose_thresholds(
    config: str | Path,
    checkpoint: str | Path,
    out: str | Path | None = None,
    split: str = 'val',
    per_class: bool = False,
    method: str = 'auto',
    device: str | None = None,
    options: dict | list[str] | None = None,
) -> ChosenThresholds:
    """Chooses thresholds for the best F1 on a labelled split, and stores them in the checkpoint.

    The thresholds are in the ``meta`` of the checkpoint, where :class:`LabelPredictor` finds them.

    Args:
        config: config of the model, whose ``SPLIT_dataloader`` names the images and labels.
        checkpoint: its weights.
        out: file to write. Default: the checkpoint itself, replaced in one step.
        split: ``val``, ``test`` or ``train``.
        per_class: one threshold for each class, for the best F1 of that class. Default: one
            threshold for all, for the best F1 averaged over samples.
        method: see :class:`LabelPredictor`.
        device, options: see :class:`LabelPredictor`.

    Raises:
        ConfigError: the config has no such split.
        DataError: an image of it has no label or cannot be read.
    """
    predictor = LabelPredictor(config, checkpoint, device, options, method)
    predictor.thresholds = None  # thresholds of an earlier choice
    probability, label, true = predict_split(predictor, config, split, options)
    if per_class:
        values = best_thresholds(probability, true).tolist()
    else:
        values = [best_threshold(probability, true)] * len(predictor.classes)
    before = f1_scores(label, true)
    after = f1_scores(probability >= torch.tensor(values), true)
    path = Path(out or checkpoint)
    about = dict(
        method=predictor.method,
        values=values,
        classes=predictor.classes,
        chosen_on=f'{len(true)} images of the {split} split',
    )
    _store(checkpoint, path, about)
    return ChosenThresholds(predictor.classes, values, before, after, path)


def predict_split(
    predictor: LabelPredictor,
    config: str | Path,
    split: str,
    options: dict | list[str] | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns probabilities, found labels and true labels, each (N, L), of the images of a split.

    Raises:
        ConfigError: the config has no such split.
        DataError: an image of it has no label or cannot be read.
    """
    cfg = load_config(config, options)
    loader = cfg.get(f'{split}_dataloader')
    if split not in ('train', 'val', 'test') or not loader:
        raise ConfigError(f'--split {split}: the config has no `{split}_dataloader`.')
    dataset = DATASETS.build(loader.dataset)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    for info in infos:
        if info.get('gt_label') is None:
            raise DataError(f'image {info.get("name")!r} of the {split} split has no label.')
    found = list(predictor.predict_many(info['img_path'] for info in infos))
    for result in found:
        if result.reason is not None:
            raise DataError(result.reason)
    return (
        torch.from_numpy(np.stack([result.probability for result in found])),
        torch.from_numpy(np.stack([result.label for result in found])),
        torch.from_numpy(np.stack([info['gt_label'] for info in infos])),
    )


def _store(checkpoint, path, about):
    content = load_file(checkpoint)
    if 'state_dict' not in content:  # bare weights
        content = dict(state_dict=content)
    content['meta'] = {**(content.get('meta') or {}), THRESHOLDS: about}
    with atomic_write(path) as file:
        torch.save(content, file)
