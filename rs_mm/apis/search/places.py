"""Where exactly in a scene a query image fits: the parts of an index lie on a coarse grid."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rs_mm.datasets.archive_metadata import file_metadata
from rs_mm.errors import DataError
from rs_mm.rasters import SceneTiles
from rs_mm.retrieval.index import Record

from .results import Found

LOOKED_AROUND = 16  # hits beyond those asked for, of which the best parts are looked at
_PLACES = 2  # parts that are moved
_FINEST = 64  # steps go down to this share of a part


def settle_places(
    found: Sequence[Found], score: Callable[[str, list[np.ndarray]], np.ndarray], eight_bit: bool
) -> list[Found]:
    """Moves the best parts of scenes to where they fit the query best, and orders all again.

    Parts that overlap by half miss what lies on the grid by at most a quarter of their side. From a
    part, four windows are looked at, shifted by an eighth of its side up or down and left or right;
    from the best one four again at half the distance, and so on.

    Args:
        found: best first.
        score: function of a path and windows (h, w, C) of that file to their scores.
        eight_bit: whether scenes of other types are stretched to 8 bits.
    """
    moved: dict[int, Found] = {}
    for number, hit in enumerate(found):
        apart = not any(_overlap(hit, other) for other in moved.values())
        if len(moved) < _PLACES and hit.record.window and apart:
            moved[number] = _settled(hit, score, eight_bit)
    hits = [moved.get(number, hit) for number, hit in enumerate(found)]
    return sorted(hits, key=lambda hit: -hit.score)


def _settled(hit, score, eight_bit):
    x, y, width, height = hit.record.window
    best, place = hit.score, (x, y)
    try:
        with SceneTiles(hit.path, None, eight_bit) as scene:
            rows, columns = scene.info.shape
            step = max(1, max(width, height) // 8)
            while step >= max(1, max(width, height) // _FINEST):
                around = _around(place, step, columns - width, rows - height)
                windows = [scene.read(slice(y, y + height), slice(x, x + width)) for x, y in around]
                whole = [i for i, (_, valid) in enumerate(windows) if valid.all()]
                if whole:
                    scores = score(hit.path, [windows[i][0] for i in whole])
                    first = int(np.argmax(scores))
                    if scores[first] > best:
                        best, place = float(scores[first]), around[whole[first]]
                step //= 2
    except (DataError, OSError):  # the file is gone or was replaced: its part stays as it is
        return hit
    if place == (x, y):
        return hit
    return Found(hit.path, best, _moved(hit.record, place))


def _around(place, step, right, bottom):
    """The four windows around one that stay within the scene; each once."""
    shifted = itertools.product((-step, step), repeat=2)
    return list(
        dict.fromkeys(
            (min(max(0, place[0] + dx), right), min(max(0, place[1] + dy), bottom))
            for dx, dy in shifted
        )
    )


def _moved(record: Record, place: tuple[int, int]) -> Record:
    moved = replace(record, x=place[0], y=place[1])
    if record.footprint is None:
        return moved
    return replace(moved, **file_metadata(record.path, moved.window))


def _overlap(hit, other):
    """Whether two parts of one scene share half or more of each side."""
    if hit.path != other.path or hit.record.window is None or other.record.window is None:
        return False
    (x, y, width, height), (left, top, *_) = hit.record.window, other.record.window
    return max(abs(x - left) / width, abs(y - top) / height) <= 0.5
