"""mmengine's MLflow back end with names that MLflow accepts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.visualization import MLflowVisBackend as MMEngineBackend

from rs_mm.registry import VISBACKENDS

_NOT_IN_NAMES = re.compile(r'[^\w./: -]')


@VISBACKENDS.register_module()
class MLflowVisBackend(MMEngineBackend):
    """A back end that writes scalars, pictures, config and logs of a run to MLflow.

    mmengine's class gives pictures no suffix and metrics the names they have (``P@10``); MLflow
    refuses both. In this class pictures end in ``.png``, and other characters in a metric's name
    become ``_``.

    Args:
        save_dir: folder of the run.
        tracking_uri: e.g. ``sqlite:///work_dirs/mlflow.db``, which needs no server. MLflow 3
            refuses a plain folder, mmengine's default.
        **kwargs: see :class:`mmengine.visualization.MLflowVisBackend`.
    """

    def __init__(
        self, save_dir: str, tracking_uri: str = 'sqlite:///work_dirs/mlflow.db', **kwargs: Any
    ) -> None:
        super().__init__(save_dir, tracking_uri=tracking_uri, **kwargs)
        if tracking_uri.startswith('sqlite:///'):  # SQLite creates the file, but not its folder
            Path(tracking_uri.removeprefix('sqlite:///')).parent.mkdir(parents=True, exist_ok=True)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Writes an (H, W, 3) RGB picture as ``NAME_STEP.png``."""
        super().add_image(f'{_NOT_IN_NAMES.sub("_", name)}_{step}.png', image, step)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Writes one value."""
        super().add_scalar(_NOT_IN_NAMES.sub('_', name), value, step)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Writes values by their names."""
        named = {_NOT_IN_NAMES.sub('_', key): value for key, value in scalar_dict.items()}
        super().add_scalars(named, step)
