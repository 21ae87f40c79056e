"""Small fake BigEarthNet folders (v1 and v2) with real names, sizes and types of files.

Each of the 19 classes has its own spectrum, and a patch is divided among its classes. So a small
network can learn the labels from the bands.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tifffile

from ..bigearthnet.bands import GROUPS, SIZES, STATISTICS
from ..bigearthnet.labels import NOMENCLATURES, encode, to_19
from ..splits import random_split

_SENSING = 'S2A_MSIL2A_20170717T113321'
_TILE = 'S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP'


def make_bigearthnet_v1(root: str | Path, patches: int = 24, seed: int = 0) -> list[str]:
    """Writes ``root/PATCH/PATCH_B01.tif …`` with labels JSON, and ``root/../splits/*.csv``.

    Args:
        root: the folder of patch folders; made if absent.
        patches: number of patches.
        seed: seed of labels and pixels.

    Returns:
        Patch names.
    """
    rng, root, names = np.random.default_rng(seed), Path(root), []
    for index in range(patches):
        name = f'{_SENSING}_{index // 90}_{index % 90}'
        labels = rng.choice(NOMENCLATURES[43], rng.integers(1, 5), replace=False).tolist()
        folder = root / name
        folder.mkdir(parents=True)
        write_bands(folder, name, to_19(encode(labels, 43)), rng)
        (folder / f'{name}_labels_metadata.json').write_text(
            json.dumps(
                dict(
                    labels=labels,
                    coordinates=_coordinates(index),
                    projection='EPSG:32629',
                    tile_source='generated',
                    acquisition_date='2017-07-17 11:33:21',
                )
            )
        )
        names.append(name)
    lists = root.parent / 'splits'
    lists.mkdir(exist_ok=True)
    for split, rows in random_split(patches).items():
        (lists / f'{split}.csv').write_text(''.join(f'{names[row]}\n' for row in rows))
    return names


def make_bigearthnet_v2(root: str | Path, patches: int = 24, seed: int = 0) -> list[str]:
    """Writes ``root/BigEarthNet-S2/TILE/PATCH/…`` and ``root/metadata.parquet`` (19 classes).

    Arguments and return value as :func:`make_bigearthnet_v1`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, root = np.random.default_rng(seed), Path(root)
    names, labels = [f'{_TILE}_{i // 90}_{i % 90}' for i in range(patches)], []
    for name in names:
        labels.append(rng.choice(NOMENCLATURES[19], rng.integers(1, 5), replace=False).tolist())
        folder = root / 'BigEarthNet-S2' / _TILE / name
        folder.mkdir(parents=True)
        write_bands(folder, name, encode(labels[-1], 19), rng)
    split = np.full(patches, 'validation', object)
    rows = random_split(patches)
    split[rows['train']], split[rows['test']] = 'train', 'test'
    no = [False] * patches
    pq.write_table(
        pa.table(
            dict(
                patch_id=names,
                labels=labels,
                split=split.tolist(),
                country=['Austria'] * patches,
                contains_seasonal_snow=no,
                contains_cloud_or_shadow=no,
            )
        ),
        root / 'metadata.parquet',
    )
    return names


def write_bands(folder: Path, name: str, label19: np.ndarray, rng: np.random.Generator) -> None:
    """Writes the 12 GeoTIFFs of a patch that shows its classes.

    Args:
        folder: existing folder of the patch.
        name: patch name.
        label19: (19,) of 0 and 1; without any, the patch is plain ground.
        rng: source of regions and noise.
    """
    regions = _regions(np.flatnonzero(label19), rng)
    for group, bands in GROUPS.items():
        step = SIZES['b10'] // SIZES[group]
        classes = regions[::step, ::step]
        for band in bands:
            mean, std = STATISTICS[band]
            values = mean + 0.8 * std * _SPECTRA[band][classes]
            values = values + rng.normal(0, 0.1 * std, classes.shape)
            _write(folder / f'{name}_{band}.tif', values.clip(0, 20000).astype(np.uint16), step)


# 19 classes and, in the last place, plain ground; the same in every set
_SPECTRA = dict(zip(STATISTICS, np.random.default_rng(19).uniform(-1, 1, (12, 20))))
_SPECTRA = {band: np.append(values[:19], 0) for band, values in _SPECTRA.items()}


def _regions(classes, rng):
    """Returns (120, 120) class indices: every pixel belongs to the nearest of a few random
    points."""
    if not len(classes):
        return np.full((120, 120), 19)
    owners = np.concatenate([classes, rng.choice(classes, 2 * len(classes))])
    seeds = rng.uniform(0, 120, (len(owners), 2))
    rows, cols = np.mgrid[:120, :120]
    distance = (rows - seeds[:, :1, None]) ** 2 + (cols - seeds[:, 1:, None]) ** 2
    return owners[distance.argmin(0)]


def _write(path, band, step):
    # the tags of a GeoTIFF: pixel size and position of the upper left corner
    scale, corner = (10.0 * step, 10.0 * step, 0.0), (0.0, 0.0, 0.0, 643200.0, 5798040.0, 0.0)
    tifffile.imwrite(
        path,
        band,
        photometric='minisblack',
        metadata=None,
        rowsperstrip=min(len(band), 34),
        extratags=[(33550, 'd', 3, scale, True), (33922, 'd', 6, corner, True)],
    )


def _coordinates(index):
    left, top = 600000 + 1200 * (index % 90), 5800000 - 1200 * (index // 90)
    return dict(ulx=left, uly=top, lrx=left + 1200, lry=top - 1200)
