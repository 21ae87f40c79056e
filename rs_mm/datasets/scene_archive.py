"""A dataset of an archive of scenes that are cut into tiles while they are read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from rs_mm.errors import ConfigError, DataError
from rs_mm.rasters import Grid, SceneTiles, TileSize, Window, cut
from rs_mm.registry import DATASETS

from .image_archive import ImageArchive, file_stamp, unreadable_sample
from .pictures import is_jpeg
from .scene_parts import PROBE, model_side, part_size, picture_shape
from .wrapped_datasets import takes_eight_bit

AUTO = 'auto'
_PREVIEW = 1024  # longest side of the reduced image in which tiles without data are found


@DATASETS.register_module()
class SceneArchive(ImageArchive):
    """Every tile of every image below a folder.

    Samples are as those of :class:`ImageArchive`; that of a tile has ``window`` too, ``(x, y,
    width, height)`` in pixels. An image that is not larger than a tile, or without georeference
    where tiles are given in metres, is one sample without ``window``. Tiles without data are left
    out. If the pipeline works on 8 bits, a scene with more bits is stretched as a whole, so its
    tiles can be compared.

    Args:
        data_root: the folder.
        tile: side of a tile: pixels (``256``) or metres on the ground (``'150m'``). ``auto``: a
            picture with 16 times the pixels that the model sees of one, or more, is cut into
            overlapping parts of the size that the model sees, larger ones where they would be more
            than about 1,000; see :func:`~rs_mm.datasets.scene_parts.part_size`.
        stride: distance between the starts of tiles. Default: the tile, with ``auto`` its half.
        least_valid: share of a tile that must hold data.
        whole: (name, bytes, time of change) of files that are known not to be scenes; with ``auto``
            they are not looked into again.
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
        whole: Collection[tuple[str, int, int]] = (),
        **kwargs: Any,
    ) -> None:
        self.size = None if tile == AUTO else TileSize.parse(tile, stride)
        if self.size is None and stride is not None:
            raise ConfigError(f'stride {stride}: give the size of the tiles as well.')
        self.least_valid, self.whole = least_valid, whole
        self.side: int | None = None  # of what the model sees; None while it is not known
        self.eight_bit = takes_eight_bit(pipeline)
        self._open: tuple[str, SceneTiles] | None = None
        super().__init__(data_root=data_root, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Returns one dict per tile: ``img_path``, ``name`` and ``window``."""
        tiles = self._tiles if self.size is not None else self._parts
        found = [(info, tiles(info)) for info in super().load_data_list()]
        if self.size is None:
            self._tell_scenes(found)
        return [tile for _, parts in found for tile in parts]

    def _tell_scenes(self, found):
        scenes = [(info, parts) for info, parts in found if 'window' in parts[0]]
        if not scenes:
            return
        info, parts = scenes[0]
        print_log(
            f'{len(scenes)} of {len(found)} images are much larger than the {self.side} pixels '
            f'that the model sees and are searched in parts, e.g. {info["name"]} in {len(parts)} '
            f'parts of {max(parts[0]["window"][2:])} pixels; --tile sets another size, --tile none '
            'takes each as one picture.',
            'current',
        )

    def _parts(self, info):
        """The parts of one file; a header tells ordinary pictures from scenes."""
        if self.whole and file_stamp(info) in self.whole:
            return [info]
        path, shape = info['img_path'], picture_shape(info['img_path'])
        if shape is None:
            return [info]
        if self.side is None and min(shape) >= PROBE:
            self.side = model_side(path, lambda img: self._seen(info, img), self.eight_bit)
        size = part_size(shape, self.side or 0)
        if size is None:
            return [info]
        if is_jpeg(path):  # all of its pixels count, and to open it is to decode it
            return _tiles_of(info, cut(shape, *size))
        return self._cut(info, lambda scene: size)

    def _seen(self, info, img):
        """Height and width of what the model sees of pixels."""
        return tuple(self.pipeline(dict(info, img=img, sample_idx=0))['inputs'].shape[-2:])

    def _tiles(self, info):
        """The tiles of one file."""

        def size(scene):
            if self.size.metres and not scene.info.georeferenced:
                return None
            return self.size.in_pixels(Grid.of(scene.info), info['img_path'])

        return self._cut(info, size)

    def _cut(self, info, size):
        """Cuts one file; one that cannot be opened stays, and is told when it is read."""
        try:
            with SceneTiles(info['img_path'], eight_bit=False) as scene:
                found = size(scene)
                if found is None or max(scene.info.shape) <= found[0]:
                    return [info]
                windows = _with_data(scene, cut(scene.info.shape, *found), self.least_valid)
        except (DataError, OSError) as error:
            return [dict(info, unreadable=str(error))]
        if not windows:
            return [dict(info, unreadable=f'{info["img_path"]}: no tile of it holds data.')]
        return _tiles_of(info, windows)

    def prepare_data(self, idx: int) -> dict:
        """Returns one sample; see the class."""
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
        """Returns the open scene of a file; the last scene stays open, because its tiles follow
        each other."""
        if self._open is None or self._open[0] != path:
            if self._open is not None:
                self._open[1].close()
            self._open = path, SceneTiles(path, None, self.eight_bit)
        return self._open[1]

    def __getstate__(self) -> dict:
        """Returns the state for a worker process, without the open file."""
        return {**self.__dict__, '_open': None}


def _tiles_of(info, windows):
    return [dict(info, window=(w.column, w.row, w.width, w.height)) for w in windows]


def _with_data(scene, windows, least):
    """Returns the windows with enough data, according to a reduced image."""
    if scene.info.all_valid:
        return windows
    valid = scene.preview_pixels(_PREVIEW).valid
    if valid.all():
        return windows
    # sums over rectangles with an integral image
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
