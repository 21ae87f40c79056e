"""Writing small fake change detection datasets in the layouts of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .scene import draw_pair


def make_levir_cd(
    root: str | Path,
    n_train: int = 48,
    n_val: int = 8,
    n_test: int = 8,
    size: int = 256,
    seed: int = 0,
) -> Path:
    """Writes LEVIR-CD's layout: ``{train,val,test}/{A,B,label}/*.png``, labels 0 and 255.

    Args:
        root: folder to write into; made if absent.
        n_train, n_val, n_test: pairs per split.
        size: side of the images in pixels.
        seed: the same seed writes the same pixels.

    Returns:
        ``root``.
    """
    return _write_splits(root, (n_train, n_val, n_test), size, seed, ('A', 'B', 'label'))


def make_svcd(
    root: str | Path,
    n_train: int = 8,
    n_val: int = 2,
    n_test: int = 2,
    size: int = 256,
    seed: int = 0,
) -> Path:
    """Writes SVCD's layout: ``{split}/{A,B,OUT}/*.jpg``, labels as JPEG."""
    return _write_splits(
        root,
        (n_train, n_val, n_test),
        size,
        seed,
        ('A', 'B', 'OUT'),
        img_suffix='.jpg',
        label_suffixes=('.jpg',) * 3,
    )


def make_s2looking(
    root: str | Path,
    n_train: int = 8,
    n_val: int = 2,
    n_test: int = 2,
    size: int = 256,
    seed: int = 0,
) -> Path:
    """Writes S2Looking's layout: ``{split}/{Image1,Image2,label,label1,label2}/*.png``.

    ``label1`` and ``label2`` show new buildings in red and demolished ones in blue, as published.
    """
    out = _write_splits(root, (n_train, n_val, n_test), size, seed, ('Image1', 'Image2', 'label'))
    for file in sorted(out.glob('*/label/*.png')):
        label = np.asarray(Image.open(file))
        for folder, channel in (('label1', 0), ('label2', 2)):
            colour = np.zeros((*label.shape, 3), np.uint8)
            colour[..., channel] = label
            target = file.parent.parent / folder / file.name
            target.parent.mkdir(exist_ok=True)
            Image.fromarray(colour).save(target)
    return out


def make_dsifn(
    root: str | Path,
    n_train: int = 8,
    n_val: int = 2,
    n_test: int = 2,
    size: int = 256,
    seed: int = 0,
) -> Path:
    """Writes DSIFN's layout: ``{split}/{t1,t2}/*.jpg``, ``{split}/mask/*.png`` (test: ``.tif``),
    0/1."""
    return _write_splits(
        root,
        (n_train, n_val, n_test),
        size,
        seed,
        ('t1', 't2', 'mask'),
        img_suffix='.jpg',
        label_suffixes=('.png', '.png', '.tif'),
        changed=1,
    )


def make_clcd(
    root: str | Path,
    n_train: int = 8,
    n_val: int = 2,
    n_test: int = 2,
    size: int = 256,
    seed: int = 0,
) -> Path:
    """Writes CLCD's layout: ``{split}/{time1,time2,label}/*.png``, labels 0 and 255."""
    return _write_splits(root, (n_train, n_val, n_test), size, seed, ('time1', 'time2', 'label'))


def make_whu_cd(
    root: str | Path,
    n_train: int = 8,
    n_val: int = 2,
    n_test: int = 2,
    size: int = 256,
    seed: int = 0,
) -> Path:
    """Writes WHU-CD's layout: ``{A,B,label}/*.png`` and ``list/{train,val,test}.txt``."""
    root, rng = Path(root), np.random.default_rng(seed)
    number = 0
    for split, count in zip(('train', 'val', 'test'), (n_train, n_val, n_test)):
        names = [f'whucd_{number + i:05d}.png' for i in range(count)]
        number += count
        for i, name in enumerate(names):
            pair = draw_pair(size, rng, change_share=0.9 if i else 1)
            _write_pair(root, ('A', 'B', 'label'), (name,) * 3, pair)
        (root / 'list').mkdir(parents=True, exist_ok=True)
        (root / 'list' / f'{split}.txt').write_text('\n'.join(names) + '\n')
    return root


def _write_splits(
    root, counts, size, seed, folders, img_suffix='.png', label_suffixes=('.png',) * 3, changed=255
):
    root, rng = Path(root), np.random.default_rng(seed)
    for split, count, label_suffix in zip(('train', 'val', 'test'), counts, label_suffixes):
        for i in range(count):
            # the first pair of every split has a change, also in a small split
            first, second, label = draw_pair(size, rng, change_share=0.9 if i else 1)
            stem = f'{split}_{i + 1}'
            names = (stem + img_suffix, stem + img_suffix, stem + label_suffix)
            _write_pair(root / split, folders, names, (first, second, label // 255 * changed))
    return root


def _write_pair(root, folders, names, images):
    for folder, name, image in zip(folders, names, images):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / folder / name, quality=95)
