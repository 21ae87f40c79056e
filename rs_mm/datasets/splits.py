"""Seeded random splits of label tables."""

from __future__ import annotations

import numpy as np


def random_split(count: int, seed: int = 24, train: float = 0.7,
                 val: float = 0.1) -> dict[str, np.ndarray]:
    """The published random 70/10/20 split of UCM and WHDLD (Imbriaco et al., TGRS 2021).

    Draws ``int(train * count)`` rows without replacement for training, then ``int(val * count)``
    of the sorted rest for validation; what remains is for testing. numpy's legacy generator.

    Args:
        count (int): number of rows.
        seed (int): seed of the generator. Default: 24, as published.
        train (float): share of training rows.
        val (float): share of validation rows.

    Returns:
        dict: ``train``, ``val`` and ``test``, each a sorted int array of row numbers.
    """
    rng = np.random.RandomState(seed)
    rows = np.arange(count)
    chosen = np.sort(rng.choice(rows, int(train * count), replace=False))
    rest = np.setdiff1d(rows, chosen)
    validation = np.sort(rng.choice(rest, int(val * count), replace=False))
    return dict(train=chosen, val=validation, test=np.setdiff1d(rest, validation))
