"""Small fake multi-label datasets in the real layouts, which a small network can learn.

Every class has its own shape and colour; an image shows one or two elements per label on a
noisy ground. UCM, AID and DFC15 take names and labels from the published tables, WHDLD gets random
ones.
"""

from __future__ import annotations

import colorsys
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from rs_mm.errors import ConfigError

from ..label_tables import CLASSES, PACKED, read_label_table, write_split_file
from ..splits import random_split

_SUFFIX = dict(ucm='.tif', aid='.jpg', whdld='.jpg', dfc15='.png')
#: The real AID and UCM put a scene's images into one folder; AID's folder names are capitalised.
_SCENE_FOLDERS = dict(
    bareland='BareLand',
    baseballfield='BaseballField',
    denseresidential='DenseResidential',
    mediumresidential='MediumResidential',
    railwaystation='RailwayStation',
    sparseresidential='SparseResidential',
    storagetanks='StorageTanks',
)


def make_multilabel(
    root: str | Path,
    dataset: str = 'ucm',
    images: int = 210,
    size: int = 64,
    by_scene: bool = False,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Writes a fake set: images, and ``train.csv``, ``val.csv``, ``test.csv`` beside them.

    Layouts: ``Images/NAME.tif`` (UCM), ``Images/NAME.jpg`` (WHDLD), ``{train,val,test}/NAME.jpg``
    (AID), ``Images/NAME.png`` (DFC15), or one folder per scene class below ``Images`` (UCM, AID).

    Args:
        root: folder to write into; made if absent.
        dataset: ``'ucm'``, ``'aid'``, ``'whdld'`` or ``'dfc15'``.
        images: number of images, spread evenly over the published table.
        size: height and width in pixels.
        by_scene: one folder per scene class (UCM and AID only).
        seed: seed of the drawings.

    Returns:
        Names of the ``train``, ``val`` and ``test`` split.
    """
    if dataset not in _SUFFIX:
        raise ConfigError(f'no fake data set {dataset!r}; there are {", ".join(sorted(_SUFFIX))}.')
    rng = np.random.default_rng(seed)
    names, labels = _table(dataset, images, rng)
    root, splits = Path(root), {}
    for mode, rows in random_split(len(names)).items():
        splits[mode] = [names[row] for row in rows]
        root.mkdir(parents=True, exist_ok=True)
        write_split_file(root / f'{mode}.csv', splits[mode], labels[rows], CLASSES[dataset])
        for row in rows:
            folder = root / _folder(dataset, mode, names[row], by_scene)
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / f'{names[row]}{_SUFFIX[dataset]}', draw_labels(labels[row], size, rng))
    return splits


make_ucm = partial(make_multilabel, dataset='ucm')
make_aid = partial(make_multilabel, dataset='aid')
make_whdld = partial(make_multilabel, dataset='whdld')
make_dfc15 = partial(make_multilabel, dataset='dfc15')


def draw_labels(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws one image that shows its labels.

    Args:
        labels: (L,) of 0 and 1.
        size: height and width in pixels.
        rng: source of places, sizes and noise.

    Returns:
        (size, size, 3) uint8, RGB.
    """
    img = np.full((size, size, 3), rng.integers(90, 150), np.uint8)
    for label in rng.permutation(np.flatnonzero(labels)):
        colour = colorsys.hsv_to_rgb(label / len(labels), 0.9, (0.95, 0.7)[label % 2])
        colour = tuple(int(255 * part) for part in colour)
        for _ in range(rng.integers(1, 3)):
            radius = int(size * rng.uniform(0.1, 0.18))
            centre = rng.integers(radius, size - radius, 2)
            _SHAPES[label % len(_SHAPES)](img, centre, radius, colour)
    noisy = img + rng.normal(0, 8, img.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def _disk(img, centre, radius, colour):
    cv2.circle(img, centre.tolist(), radius, colour, -1)


def _square(img, centre, radius, colour):
    cv2.rectangle(img, (centre - radius).tolist(), (centre + radius).tolist(), colour, -1)


def _ring(img, centre, radius, colour):
    cv2.circle(img, centre.tolist(), radius, colour, max(2, radius // 3))


def _cross(img, centre, radius, colour):
    cv2.drawMarker(img, centre.tolist(), colour, cv2.MARKER_CROSS, 2 * radius, max(2, radius // 3))


def _triangle(img, centre, radius, colour):
    corners = centre + radius * np.array([[0, -1], [-1, 1], [1, 1]])
    cv2.fillPoly(img, [corners.astype(np.int32)], colour)


def _stripes(img, centre, radius, colour):
    for offset in range(-radius, radius + 1, max(3, radius // 2)):
        start, end = centre + [-radius, offset], centre + [radius, offset]
        cv2.line(img, start.tolist(), end.tolist(), colour, max(1, radius // 5))


_SHAPES = (_disk, _square, _ring, _cross, _triangle, _stripes)


def _table(dataset, images, rng):
    if dataset in PACKED:
        table = read_label_table(dataset)
        rows = np.unique(np.linspace(0, len(table.names) - 1, images).astype(int))
        return [table.names[row] for row in rows], table.labels[rows]
    count = len(CLASSES[dataset])
    labels = (rng.random((images, count)) < 0.4).astype(np.uint8)
    labels[np.arange(images), rng.integers(0, count, images)] = 1
    return [f'img{row:04d}' for row in range(images)], labels


def _folder(dataset, mode, name, by_scene):
    if by_scene:
        scene = name.rstrip('0123456789').rstrip('_')
        if dataset == 'aid':
            scene = _SCENE_FOLDERS.get(scene, scene.capitalize())
        return Path('Images') / scene
    return Path(mode if dataset == 'aid' else 'Images')


def _write(path, img):
    if path.suffix == '.tif':
        import tifffile

        tifffile.imwrite(path, img, photometric='rgb')
    else:
        cv2.imwrite(str(path), img[..., ::-1])
