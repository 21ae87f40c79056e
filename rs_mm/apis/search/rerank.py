"""Change detection and composed retrieval together: hits ordered by how much has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from rs_mm.errors import DataError

from .engine import ImageSearch
from .results import Results


class ChangeRerank:
    """Orders hits by the share of pixels that a change detector calls changed.

    The query image is the first date, each hit the second one. A hit of another size is resized to
    the query's. A hit that cannot be compared keeps its place behind all others.

    Args:
        kind: ``change``.
        config: config of a change detector.
        checkpoint: its weights.
        device: default: the GPU if there is one.

    Example:
        >>> found = search('pre.tif', 'after a flood', k=20)
        >>> found = ChangeRerank('change', config, checkpoint)(search, 'pre.tif', found)
    """

    def __init__(self, kind: str, config: str, checkpoint: str, device: str | None = None) -> None:
        from rs_mm.apis.change import ChangeDetector

        assert kind == 'change'
        self.detector = ChangeDetector(config, checkpoint, device)

    def share(self, before: np.ndarray, after: np.ndarray) -> float:
        """Share of changed pixels between two images (H, W, 3) uint8."""
        if before.shape != after.shape:
            height, width = before.shape[:2]
            after = np.asarray(Image.fromarray(after).resize((width, height), Image.BICUBIC))
        return float((np.asarray(self.detector(before, after).mask) > 0).mean())

    def __call__(self, engine: ImageSearch, image: Any, found: Results) -> Results:
        """The same hits with their share of change, the most changed first.

        Args:
            engine: what found them.
            image: the query image.
            found: its answer.
        """
        before, compared, rest = engine.query_picture(image), [], []
        for hit in found:
            try:
                change = self.share(before, engine.picture(hit.record))
                compared.append(hit._replace(change=change))
            except (DataError, OSError) as error:
                print_log(f'{Path(hit.path).name} is not compared: {error}', 'current', 30)
                rest.append(hit)
        compared.sort(key=lambda hit: -hit.change)  # stable: equal shares keep their order
        return Results([*compared, *rest], found.answer, f'{found.method}, by change')
