"""Runs models that ``tools/export.py`` has written: onnxruntime, numpy and rs_mm.rasters alone.

No torch, no mm package. :func:`open_export` gives the runner of a folder's task.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__all__ = ['open_export']

_RUNNERS = dict(
    change=('change', 'ChangeRunner'),
    few_shot=('few_shot', 'FewShotRunner'),
    embedding=('vectors', 'VectorRunner'),
    retrieval=('vectors', 'VectorRunner'),
)


def open_export(folder: str | Path, threads: int | None = None) -> Any:
    """The runner of an exported model.

    Args:
        folder: written by ``tools/export.py --format onnx``.
        threads: of onnxruntime. Default: one for each core.

    Returns:
        :class:`~.change.ChangeRunner`, :class:`~.few_shot.FewShotRunner` or
        :class:`~.vectors.VectorRunner`.

    Raises:
        MissingFileError, DataError: the folder holds no export, or a damaged one.
        ConfigError: onnxruntime is not installed.
    """
    from .model import ExportedModel

    model = ExportedModel(folder, threads)
    module, name = _RUNNERS[model.task]
    return getattr(importlib.import_module(f'{__name__}.{module}'), name)(model)
