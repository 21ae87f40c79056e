"""The list of models: every config by its published name."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from rs_mm.launch.config_files import tree

_TASKS = {
    'SiamEncoderDecoder': 'change detection',
    'FewShotSegmentor': 'few-shot segmentation',
    'ImageEmbedder': 'multi-label retrieval',
    'ComposedRetriever': 'composed retrieval',
}
_CLASSIFIED = 'multi-label classification and retrieval'


@dataclass(frozen=True)
class ModelInfo:
    """One config.

    Attributes:
        name: published name; every inferencer and tool takes it as the config.
        task: what the model does.
        dataset: what it is trained or tested on.
        backbone: its encoder.
        weights: source of its trained weights, e.g. ``open_clip:openai``; None if none are
            published in this format: train the model, or convert an official checkpoint.
        path: the config file.
    """

    name: str
    task: str
    dataset: str
    backbone: str
    weights: str | None
    path: Path


def list_models(pattern: str = '') -> list[ModelInfo]:
    """Lists every config of this installation.

    Args:
        pattern: words that must occur in name, task, dataset or backbone; case does not matter.

    Returns:
        The models, sorted by task and name.

    Examples:
        >>> from rs_mm.apis import list_models
        >>> [model.name for model in list_models('few-shot resnet101 dlrsd')][0]
        'sccnet_resnet101_256_200k_dlrsd_fold0'
    """
    words = pattern.lower().split()
    found = []
    for path in _config_files():
        info = _describe(path)
        text = f'{info.name} {info.task} {info.dataset} {info.backbone}'.lower()
        if all(word in text for word in words):
            found.append(info)
    return sorted(found, key=lambda info: (info.task, info.name))


def _config_files() -> Iterator[Path]:
    root = tree('configs')
    for path in sorted(root.glob('*/*.py')):
        if path.parent.name != '_base_':
            yield path


@functools.cache  # reading all configs takes seconds
def _describe(path: Path) -> ModelInfo:
    cfg = Config.fromfile(path, import_custom_modules=False)
    model = cfg.get('model') or {}
    return ModelInfo(
        name=path.stem,
        task=_task(cfg, model),
        dataset=_dataset(cfg, path),
        backbone=_backbone(model),
        weights=_weights(cfg, model),
        path=path,
    )


def _task(cfg, model):
    kind = str(model.get('type', '')).rpartition('.')[2]
    losses = [str(loss.get('type')) for loss in model.get('losses') or ()]
    metrics = cfg.get('test_evaluator') or ()
    metrics = [metrics] if isinstance(metrics, dict) else metrics
    kinds = {str(metric.get('type')).rpartition('.')[2] for metric in metrics}
    classified = bool(kinds & {'KNNMetric', 'KNNMultiLabel'})
    if kind == 'ImageEmbedder' and (classified or any('SND' in loss for loss in losses)):
        return _CLASSIFIED
    return _TASKS.get(kind, kind)


def _backbone(model):
    for key in ('encoder', 'backbone'):
        part = model.get(key)
        if part:
            return str(part.get('model') or part.get('arch') or part['type'])
    arch = model.get('arch')
    return arch if isinstance(arch, str) else 'CLIP'


def _dataset(cfg, path):
    for key in ('train_dataloader', 'test_dataloader'):
        dataset = (cfg.get(key) or {}).get('dataset')
        while dataset and 'dataset' in dataset:
            dataset = dataset['dataset']
        if not dataset:
            continue
        root = str(dataset.get('data_root') or '')
        if root:
            return Path(root).name
        if dataset.get('type'):
            return re.sub('_?Dataset$', '', str(dataset['type']))
    return path.stem.rpartition('_')[2]


def _weights(cfg, model) -> Any:
    if cfg.get('load_from'):
        return cfg.load_from
    if cfg.get('training_free'):
        return (model.get('init_cfg') or {}).get('checkpoint')
    return None
