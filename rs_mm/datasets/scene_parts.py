"""Which pictures of an archive are scenes, and how large the parts are that they are cut into."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from rs_mm.errors import DataError
from rs_mm.rasters import SceneTiles
from rs_mm.rasters.describe import describe
from rs_mm.rasters.optional import has_rasterio

SCENE = 16  # a picture with so many times the pixels that the model sees is a scene
MOST = 1024  # parts of one scene, about
PROBE = 64  # a picture with a shorter side says too little of what a pipeline does
_ORIENTATION = 274


def picture_shape(path: str | Path) -> tuple[int, int] | None:
    """(height, width) of a picture as it is seen, from its header alone; None if it has none."""
    try:
        with warnings.catch_warnings():  # of many pixels, which are not decoded here
            warnings.simplefilter('ignore')
            with Image.open(path) as file:
                width, height = file.size
                turned = file.format == 'JPEG' and file.getexif().get(_ORIENTATION, 1) in (
                    5,
                    6,
                    7,
                    8,
                )
        return (width, height) if turned else (height, width)
    except Exception:  # Pillow raises many types, also for what GDAL reads
        pass
    try:
        return describe(path).shape if has_rasterio() else None
    except (DataError, OSError):
        return None  # the reader says what is wrong


def model_side(path: str | Path, see: Callable, eight_bit: bool) -> int | None:
    """The longer side of what a pipeline makes of every picture.

    Args:
        path: a picture that it is tried on, whose sides are not below :data:`PROBE`.
        see: function from pixels (H, W, C) to (height, width) of what the model sees of them.
        eight_bit: whether the pipeline works on 8 bits.

    Returns:
        Pixels; 0 where larger pictures give larger inputs, so that none is reduced; None where the
        picture does not tell.
    """
    try:
        with SceneTiles(path, None, eight_bit) as scene:
            height, width = (min(length, 4 * PROBE) for length in scene.info.shape)
            seen = {
                see(scene.read(slice(0, height // part), slice(0, width // part))[0])
                for part in (1, 2)
            }
    except (DataError, OSError):
        return None
    return max(seen.pop()) if len(seen) == 1 else 0


def part_size(shape: tuple[int, int], side: int) -> tuple[int, int] | None:
    """Side and stride of the parts of a picture; None where it is looked at as a whole.

    The parts are as large as what the model sees and overlap by half. A scene that would have more
    than about :data:`MOST` of them gets larger ones.

    Args:
        shape: of the picture.
        side: of what the model sees.
    """
    height, width = shape
    if not side or height * width < SCENE * side * side:
        return None
    stride = max(1, side // 2)
    count = math.prod(max(1, math.ceil((length - side) / stride) + 1) for length in shape)
    side = math.ceil(side * max(1, math.sqrt(count / MOST)))
    return side, max(1, side // 2)
