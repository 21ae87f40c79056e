"""Re-ranking of search results by a change detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from rs_mm.errors import DataError
from rs_mm.rasters import open_raster

from .engine import ImageSearch
from .results import Found, Results

_NO_DATA = 255


class ChangeRerank:
    """Orders hits by the share of pixels that a change detector calls changed.

    The query image is date 1, each hit is date 2. A hit of another size is resized to the size of
    the query. Hits that cannot be compared come last, in their order.

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
        from rs_mm.apis.change.detector import ChangeDetector

        assert kind == 'change'
        self.detector = ChangeDetector(config, checkpoint, device=device)

    def share(self, engine: ImageSearch, image: Any, hit: Found) -> float:
        """Returns the share of the pixels with data that change between the query image and a hit.

        Two files with the same size, or with georeferences, are read as in the detector's config;
        files of different ground are refused. Other pairs are compared as RGB pictures.

        Raises:
            DataError: the two cannot be compared.
        """
        if hit.record.window is None and isinstance(image, (str, Path)) and Path(image).is_file():
            first, second = (open_raster(path) for path in (image, hit.path))
            with first, second:
                placed = first.info.georeferenced and second.info.georeferenced
                same = first.info.shape == second.info.shape
            if placed or same:
                found = self.detector(str(image), hit.path, align='ground' if placed else 'none')
                return _share(found.mask)
        before, after = engine.query_picture(image), engine.picture(hit.record)
        if before.shape != after.shape:
            height, width = before.shape[:2]
            after = np.asarray(Image.fromarray(after).resize((width, height), Image.BICUBIC))
        return _share(self.detector(before, after).mask)

    def __call__(self, engine: ImageSearch, image: Any, found: Results) -> Results:
        """Returns the hits with their share of change, the most changed first.

        Args:
            engine: the searched archive.
            image: the query image.
            found: its results.
        """
        compared: list[Found] = []
        rest: list[Found] = []
        for hit in found:
            try:
                compared.append(hit._replace(change=self.share(engine, image, hit)))
            except (DataError, OSError) as error:
                print_log(f'{Path(hit.path).name} is not compared: {error}', 'current', 30)
                rest.append(hit)
        compared.sort(key=lambda hit: -hit.change)  # stable: equal shares keep their order
        return Results([*compared, *rest], found.answer, f'{found.method}, by change', found.sheet)


def _share(mask: np.ndarray) -> float:
    mask = np.asarray(mask)
    return float(((mask > 0) & (mask < _NO_DATA)).sum() / max(1, (mask < _NO_DATA).sum()))
