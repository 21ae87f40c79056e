"""Running models of ``tools/export.py`` with only onnxruntime, numpy and rs_mm.rasters.

torch and the mm packages are not needed. :func:`open_export` returns the runner for a folder.
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
    """Returns the runner of an exported model.

    Args:
        folder: folder of ``tools/export.py --format onnx``.
        threads: threads of onnxruntime. Default: one for each core.

    Returns:
        :class:`~.change.ChangeRunner`, :class:`~.few_shot.FewShotRunner` or
        :class:`~.vectors.VectorRunner`.

    Raises:
        MissingFileError, DataError: the folder holds no export, or the export is damaged.
        ConfigError: onnxruntime is not installed.
    """
    from .model import ExportedModel

    model = ExportedModel(folder, threads)
    module, name = _RUNNERS[model.task]
    return getattr(importlib.import_module(f'{__name__}.{module}'), name)(model)
