"""BigEarthNet's two nomenclatures, read from ``datasets/labels/bigearthnet_classes.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.errors import DataError

_DATA = json.loads((Path(__file__).parents[1] / 'labels/bigearthnet_classes.json').read_text())

#: Class names by size of the nomenclature: 43 CORINE level-3 classes, or the 19 made from them.
NOMENCLATURES = {43: tuple(_DATA['rules_43_to_19']), 19: tuple(_DATA['classes_19'])}


def conversion_matrix() -> np.ndarray:
    """(43, 19) uint8: 1 where an old class becomes a new one; a dropped class is a zero row."""
    matrix = np.zeros((43, 19), np.uint8)
    for row, new in enumerate(_DATA['rules_43_to_19'].values()):
        if new is not None:
            matrix[row, NOMENCLATURES[19].index(new)] = 1
    return matrix


_CONVERSION = conversion_matrix()


def to_19(labels: np.ndarray) -> np.ndarray:
    """Converts multi-hot labels of 43 classes to 19.

    Eleven classes are dropped, so an image can end up without any label.

    Args:
        labels: (..., 43) of 0 and 1.

    Returns:
        (..., 19) uint8 of 0 and 1.
    """
    return (np.asarray(labels) @ _CONVERSION > 0).astype(np.uint8)


def check_labels(names: Any, where: Any) -> None:
    """Refuses labels that are not a list of names, for example the null of a damaged record.

    Raises:
        DataError: the labels are not a list; the message begins with ``where``.
    """
    # pyarrow and json return lists
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f'{where}: its labels are {names!r:.60}, not a list of names')


def encode(names: Iterable[str], num_classes: int) -> np.ndarray:
    """Returns the multi-hot vector (num_classes,) uint8 of class names.

    Raises:
        DataError: a name is not one of the ``num_classes`` (43 or 19) classes.
    """
    classes, hot = NOMENCLATURES[num_classes], np.zeros(num_classes, np.uint8)
    for name in names:
        if name not in classes:
            raise DataError(
                f'unknown label {name!r}: not one of the {num_classes} classes of BigEarthNet.'
            )
        hot[classes.index(name)] = 1
    return hot
