"""An archive of scenes, each cut into tiles on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rs_mm.errors import DataError
from rs_mm.rasters import Grid, SceneTiles, TileSize, Window, cut
from rs_mm.registry import DATASETS

from .image_archive import ImageArchive, unreadable_sample
from .wrapped_datasets import takes_eight_bit

_PREVIEW = 1024  # longest side of the reduced picture that says which tiles hold data


@DATASETS.register_module()
class SceneArchive(ImageArchive):
    """Every tile of every image below a folder.

    Samples are as those of :class:`ImageArchive`; that of a tile has ``window`` too, ``(x, y,
    width, height)`` in pixels. An image that is not larger than a tile, or without georeference
    where tiles are given in metres, is one sample without ``window``. Tiles without data are left
    out. A scene of more than 8 bits is stretched as a whole where the pipeline works on 8 bits, so
    that its tiles can be compared.

    Args:
        data_root: the folder.
        tile: side of a tile: pixels (``256``) or metres on the ground (``'150m'``).
        stride: distance between the starts of tiles. Default: the tile.
        least_valid: share of a tile that must hold data.
        pipeline, suffixes, ...: see :class:`ImageArchive`.

    Raises:
        ConfigError: tile or stride is no size.
        MissingFileError, DataError: see :class:`ImageArchive`.
    """

    def __init__(
        self,
        data_root: str,
        tile: str | float,
        stride: str | float | None = None,
        least_valid: float = 0.5,
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        self.size = TileSize.parse(tile, stride)
        self.least_valid = least_valid
        self.eight_bit = takes_eight_bit(pipeline)
        self._open: tuple[str, SceneTiles] | None = None
        super().__init__(data_root=data_root, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Returns one dict per tile: ``img_path``, ``name`` and ``window``."""
        return [tile for info in super().load_data_list() for tile in self._tiles(info)]

    def _tiles(self, info):
        """The tiles of one file; one that cannot be opened stays, and is told when it is read."""
        try:
            with SceneTiles(info['img_path'], eight_bit=False) as scene:
                if self.size.metres and not scene.info.georeferenced:
                    return [info]
                tile, stride = self.size.in_pixels(Grid.of(scene.info), info['img_path'])
                if max(scene.info.shape) <= tile:
                    return [info]
                windows = _with_data(scene, cut(scene.info.shape, tile, stride), self.least_valid)
        except (DataError, OSError) as error:
            return [dict(info, unreadable=str(error))]
        if not windows:
            return [dict(info, unreadable=f'{info["img_path"]}: no tile of it holds data.')]
        return [dict(info, window=(w.column, w.row, w.width, w.height)) for w in windows]

    def prepare_data(self, idx: int) -> dict:
        """One sample; see the class."""
        info = self.get_data_info(idx)
        if 'unreadable' in info:
            return unreadable_sample(info, DataError(info['unreadable']))
        if 'window' not in info:
            return super().prepare_data(idx)
        x, y, width, height = info['window']
        try:
            array, _ = self._scene(info['img_path']).read(*Window(y, x, height, width).slices)
            return self.pipeline(dict(info, img=array))
        except (DataError, OSError) as error:
            return unreadable_sample(info, error)

    def _scene(self, path):
        """The scene that was read last stays open: its tiles follow each other."""
        if self._open is None or self._open[0] != path:
            if self._open is not None:
                self._open[1].close()
            self._open = path, SceneTiles(path, None, self.eight_bit)
        return self._open[1]

    def __getstate__(self) -> dict:
        """What a worker process gets: no open file."""
        return {**self.__dict__, '_open': None}


def _with_data(scene, windows, least):
    """The windows whose share of data, seen in a reduced picture, is large enough."""
    valid = scene.preview_pixels(_PREVIEW).valid
    if valid.all():
        return windows
    # sums over rectangles by an integral image
    total = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1))
    total[1:, 1:] = valid.cumsum(0).cumsum(1)
    scale = [reduced / whole for reduced, whole in zip(valid.shape, scene.info.shape)]
    return [window for window in windows if _share(total, window, scale) >= least]


def _share(total, window, scale):
    (top, bottom), (left, right) = (
        (int(part.start * s), max(int(part.start * s) + 1, round(part.stop * s)))
        for part, s in zip(window.slices, scale)
    )
    inside = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    return inside / ((bottom - top) * (right - left))
