"""The functions and classes for users. Each name is imported at first use, without torch before."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    'ChangeDetector': 'change',
    'ChangeMap': 'change',
    'FewShotMask': 'few_shot',
    'FewShotSegmenter': 'few_shot',
    'ImageLabels': 'labels',
    'ImageSearch': 'search',
    'LabelPredictor': 'labels',
    'SceneLabels': 'labels',
    'evaluate_features': 'features.evaluation',
    'export': 'exporting.export_model',
    'extract': 'features.extraction',
    'fit_pca': 'features.pca',
    'list_models': 'models',
    'load_features': 'features.extraction',
    'test': 'testing',
    'train': 'training',
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOME[name]}'), name)


def __dir__() -> list[str]:
    return __all__
