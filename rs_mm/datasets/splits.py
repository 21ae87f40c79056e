"""Splits of label tables: seeded random splits, and splits given by folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import DataError, MissingFileError


def random_split(
    count: int, seed: int = 24, train: float = 0.7, val: float = 0.1
) -> dict[str, np.ndarray]:
    """Draws the published random 70/10/20 split of UCM and WHDLD (Imbriaco et al., TGRS 2021).

    Draws ``int(train * count)`` rows without replacement for training, then ``int(val * count)``
    of the sorted rest for validation; the other rows are for testing. Uses numpy's legacy
    generator.

    Args:
        count: number of rows.
        seed: seed of the generator. Default: 24, as published.
        train: share of training rows.
        val: share of validation rows.

    Returns:
        ``train``, ``val`` and ``test``, each a sorted int array of row numbers.
    """
    rng = np.random.RandomState(seed)
    rows = np.arange(count)
    chosen = np.sort(rng.choice(rows, int(train * count), replace=False))
    rest = np.setdiff1d(rows, chosen)
    validation = np.sort(rng.choice(rest, int(val * count), replace=False))
    return dict(train=chosen, val=validation, test=np.setdiff1d(rest, validation))


def folder_split(root: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the split given by the folders ``train`` and ``test`` of a dataset, as published for
    AID.

    Args:
        root: folder of the set, with ``train`` and ``test``, or ``images_tr`` and
            ``images_test``; images lie in them or in folders below.
        names: image names of the label table.

    Returns:
        ``train`` and ``test``, each an int array of row numbers in the table's order.

    Raises:
        MissingFileError: the folders do not exist.
        DataError: a name of the table is in no folder, or in both.
    """
    splits = {}
    for split, folders in (('train', ('train', 'images_tr')), ('test', ('test', 'images_test'))):
        found = [Path(root) / folder for folder in folders if (Path(root) / folder).is_dir()]
        if not found:
            raise MissingFileError(
                f'{root} has no folder {" or ".join(folders)} to split by. Unpack both parts '
                'of the set there; or, where all images lie together, leave --by-folder out, '
                'and a seeded split is drawn.'
            )
        stems = {path.stem for folder in found for path in folder.rglob('*') if path.is_file()}
        splits[split] = np.array([row for row, name in enumerate(names) if name in stems], int)
    placed = np.bincount(np.concatenate(list(splits.values())), minlength=len(names))
    if (placed != 1).any():
        name, count = names[int(np.argmax(placed != 1))], int(placed[np.argmax(placed != 1)])
        raise DataError(
            f'{root}: {name!r} of the label table lies in {count} of the two folders; '
            f'{int((placed != 1).sum())} names do not lie in exactly one.'
        )
    return splits
