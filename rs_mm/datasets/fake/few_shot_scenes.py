"""Fake few-shot datasets in which every class has its own colours, texture and shape."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from rs_mm.datasets.few_shot_dataset import DLRSD5iDataset, ISAID5iDataset, Pascal5iDataset

_SHAPES = ('disc', 'box', 'triangle')
# scene folders of UC Merced; the label of an object does not depend on them
_SCENES = ('airplane', 'beach', 'harbor', 'river', 'storagetanks')


def make_isaid_5i(root: str | Path, n_per_class: int = 8, size: int = 256, seed: int = 0) -> None:
    """Writes patches in the layout of iSAID-5i, and lists.

    Args:
        root: folder to write into; the lists go to ``root/lists``, which the dataset
            takes as ``list_dir``.
        n_per_class: images made for each class in each of ``train`` and ``val``. An image also
            shows objects of other classes, so the lists hold more entries.
        size: side of the images in pixels.
        seed: of every draw.
    """
    rng = np.random.default_rng(seed)
    for split, folder in (('trn', 'train'), ('val', 'val')):
        count = 0

        def files(i, folder=folder):
            name = f'P{i:04d}_0_{size}_0_{size}'
            return name, (
                f'{folder}/images/{name}.png',
                f'{folder}/semantic_png/{name}_instance_color_RGB.png',
            )

        entries = []
        for label in range(15):
            for _ in range(n_per_class):
                name, paths = files(count)
                entries += _write(root, name, paths, label, 15, size, rng, ignore=True)
                count += 1
        _write_lists(root, split, entries, ISAID5iDataset)


def make_dlrsd_5i(root: str | Path, n_per_class: int = 8, size: int = 256, seed: int = 0) -> None:
    """Writes images in the layout of DLRSD-5i, and lists; arguments as :func:`make_isaid_5i`.

    As in the published lists, ``trn`` and ``val`` hold the same images.
    """
    rng = np.random.default_rng(seed)
    entries, counts = [], dict.fromkeys(_SCENES, 0)
    for label in range(15):
        for i in range(n_per_class):
            scene = _SCENES[(label + i) % len(_SCENES)]
            name = f'{scene}{counts[scene]:02d}'
            counts[scene] += 1
            if counts[scene] > 100:
                raise ValueError(
                    'DLRSD has two digits for the images of a scene: n_per_class must be at most 33'
                )
            paths = (
                f'UCMerced_LandUse/Images/{scene}/{name}.tif',
                f'DLRSD/Images/{scene}/{name}.png',
            )
            entries += _write(root, name, paths, label, 15, size, rng)
    for split in ('trn', 'val'):
        _write_lists(root, split, entries, DLRSD5iDataset)


def make_pascal_5i(root: str | Path, n_per_class: int = 8, size: int = 256, seed: int = 0) -> None:
    """Writes images in the layout of PASCAL-5i, and lists; arguments as :func:`make_isaid_5i`."""
    rng = np.random.default_rng(seed)
    count = 0
    for split in ('trn', 'val'):
        entries = []
        for label in range(20):
            for _ in range(n_per_class):
                name = f'2007_{count:06d}'
                paths = (f'JPEGImages/{name}.jpg', f'SegmentationClassAug/{name}.png')
                entries += _write(root, name, paths, label, 20, size, rng, ignore=True)
                count += 1
        _write_lists(root, split, entries, Pascal5iDataset)


def draw_scene(
    labels: Sequence[int], classes: int, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one object for each label on a noisy ground.

    Args:
        labels: classes from 0.
        classes: how many classes there are.
        size: side in pixels.
        rng: of every draw.

    Returns:
        Image (size, size, 3) uint8 RGB; label (size, size) uint8,
        0 or class + 1.
    """
    coarse = rng.random((6, 6, 1), np.float32) * np.array([40, 35, 25], np.float32)
    image = np.array([70, 80, 60], np.float32) + cv2.resize(
        coarse * [1, 1, 1], (size, size), interpolation=cv2.INTER_CUBIC
    )
    label = np.zeros((size, size), np.uint8)
    yy, xx = np.mgrid[:size, :size].astype(np.float32)
    for k in labels:
        mask = _shape(_SHAPES[k % 3], size, rng)
        hue = (k * 0.618) % 1
        colours = [
            255 * np.array(colorsys.hsv_to_rgb(h, 0.75, v))
            for h, v in ((hue, 0.85), ((hue + 0.12) % 1, 0.5))
        ]
        angle, period = np.pi * (k % 4) / 4, size / (10 + 3 * (k % 5))
        wave = np.sin(2 * np.pi * (np.cos(angle) * xx + np.sin(angle) * yy) / period)
        texture = np.where(wave[..., None] > 0, *colours) * rng.uniform(0.85, 1.1)
        image[mask], label[mask] = texture[mask], k + 1
    image += rng.normal(0, 8, image.shape)
    return image.clip(0, 255).astype(np.uint8), label


def _shape(kind, size, rng):
    mask = np.zeros((size, size), np.uint8)
    x, y = (int(v) for v in rng.uniform(0.2, 0.8, 2) * size)
    r = rng.uniform(0.13, 0.24) * size
    turn = rng.uniform(0, 360)
    if kind == 'disc':
        cv2.ellipse(mask, (x, y), (int(r), int(r * rng.uniform(0.6, 1))), turn, 0, 360, 1, -1)
    else:
        corners = 4 if kind == 'box' else 3
        angles = np.deg2rad(turn + 360 / corners * np.arange(corners))
        points = np.stack([x + 1.2 * r * np.cos(angles), y + 1.2 * r * np.sin(angles)], 1)
        cv2.fillConvexPoly(mask, points.astype(np.int32), 1)
    return mask.astype(bool)


def _write(root, name, paths, label, classes, size, rng, ignore=False):
    """Draws an image with the class and two others; returns its list entries."""
    others = rng.choice([k for k in range(classes) if k != label], 2, replace=False)
    image, mask = draw_scene([*others, label], classes, size, rng)
    present = [k for k in range(classes) if (mask == k + 1).mean() > 0.015]
    if ignore and rng.random() < 0.3:
        edge = mask[: max(1, size // 20)]
        edge[edge == 0] = 255
    for path, array in zip(paths, (image, mask)):
        path = Path(root) / path
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(array)
        if array.ndim == 2:
            picture.putpalette(_palette())
        picture.save(path)
    return [(name, k) for k in present]


def _palette():
    rng = np.random.default_rng(0)
    return [0, 0, 0, *rng.integers(40, 255, 3 * 254).tolist(), 255, 255, 255]


def _write_lists(root, split, entries, dataset):
    per_fold = len(dataset.METAINFO['classes']) // dataset.folds
    folder = Path(root) / 'lists' / split
    folder.mkdir(parents=True, exist_ok=True)
    for fold in range(dataset.folds):
        lines = [f'{name}__{k + 1:02d}\n' for name, k in entries if k // per_fold == fold]
        (folder / f'fold{fold}.txt').write_text(''.join(lines))
