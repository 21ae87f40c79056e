"""Cutting WHU-CD's large images into tiles, with lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from rs_mm.datasets.pictures import read_picture
from rs_mm.errors import DataError, MissingFileError
from rs_mm.files import atomic_path, atomic_write
from rs_mm.rasters.tiff import open_tiff, read_page

_PARTS = dict(A=('before', '2012'), B=('after', '2016'), label=('label', 'change'))
_SUFFIXES = ('.tif', '.tiff', '.png')


def cut_whu_cd(
    source: str | Path, out: str | Path, tile: int = 256, val: float = 0.1, seed: int = 0
) -> dict[str, int]:
    """Cuts both areas into tiles without overlap; remaining pixels at the right and bottom are
    dropped.

    Args:
        source: folder with ``train`` and ``test``, each with the image of date 1 (``before`` or
            ``2012`` in its name or its folder's), of date 2 (``after``, ``2016``) and the label
            (``label``, ``change``); (H, W, 3) uint8 and (H, W), 0 where unchanged.
        out: folder for ``{A,B,label}/NAME.png`` and ``list/{train,val,test}.txt``.
        tile: side in pixels.
        val: share of the training tiles for validation.
        seed: seed of their draw.

    Returns: Split -> number of tiles.

    Raises:
        MissingFileError: an image is missing.
        DataError: the three images of an area differ in size, or are smaller than a tile.
    """
    out, names = Path(out), {}
    for area in ('train', 'test'):
        images = {part: _read(_find(Path(source) / area, part)) for part in _PARTS}
        sizes = {part: image.shape[:2] for part, image in images.items()}
        if len(set(sizes.values())) > 1:
            raise DataError(f'{Path(source) / area}: the images differ in size: {sizes}.')
        height, width = sizes['A']
        if min(height, width) < tile:
            raise DataError(f'{Path(source) / area}: {height} x {width} is less than a tile.')
        names[area] = []
        for top in range(0, height - tile + 1, tile):
            for left in range(0, width - tile + 1, tile):
                name = f'{area}_{top // tile:03d}_{left // tile:03d}.png'
                for part, image in images.items():
                    piece = np.ascontiguousarray(image[top : top + tile, left : left + tile])
                    with atomic_path(out / part / name) as unfinished:
                        Image.fromarray(piece).save(unfinished)
                names[area].append(name)
    rows = np.random.default_rng(seed).permutation(len(names['train']))
    chosen = set(rows[: round(val * len(rows))].tolist())
    lists = dict(
        train=[name for i, name in enumerate(names['train']) if i not in chosen],
        val=[name for i, name in enumerate(names['train']) if i in chosen],
        test=names['test'],
    )
    for split, listed in lists.items():
        with atomic_write(out / 'list' / f'{split}.txt', 'w', encoding='utf-8') as file:
            file.writelines(f'{name}\n' for name in listed)
    return {split: len(listed) for split, listed in lists.items()}


def _find(folder, part):
    words = _PARTS[part]
    files = sorted(p for p in folder.rglob('*') if p.suffix.lower() in _SUFFIXES)
    others = [word for other, known in _PARTS.items() if other != part for word in known]
    found = []
    for path in files:
        said = str(path.relative_to(folder)).lower()
        # the folder of a label may contain a year, so words in the file name come first
        if any(word in said for word in words) and (
            part == 'label' or not any(word in said for word in _PARTS['label'])
        ):
            found.append(path)
    if len(found) != 1:
        what = f'{len(found)} images' if found else 'no image'
        raise MissingFileError(
            f'{folder} holds {what} with {" or ".join(words)} in the name, where there must be '
            f'one (and others with {", ".join(others)}).'
        )
    return found[0]


def _read(path):
    if path.suffix.lower() == '.png':
        image = read_picture(path).array
        image = image[..., 0] if image.shape[2] == 1 else image
    else:
        with open_tiff(path) as file:
            image = read_page(file, file.pages[0], path, windowed=True)
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    if image.dtype != np.uint8:
        raise DataError(f'{path} holds {image.dtype}; WHU-CD is 8-bit.')
    return image[..., :3] if image.ndim == 3 else image
