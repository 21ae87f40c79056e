"""Reads the recorded numbers of the original implementations (tests/data/parity/SYSTEM/)."""

import json
from pathlib import Path

import numpy as np
import torch

from . import fill

ROOT = Path(__file__).parent / 'data' / 'parity'


def load_case(system, name):
    """Returns (manifest, arrays) of one case; ``arrays`` is empty where it has none."""
    manifest = json.loads((ROOT / system / f'{name}.json').read_text())
    archive = ROOT / system / f'{name}.npz'
    arrays = dict(np.load(archive)) if archive.exists() else {}
    return manifest, arrays


def fill_state(shapes, strip=''):
    """Deterministic weights for ``{original name: shape}``, as float32 tensors."""
    return {
        name[len(strip) :]: torch.from_numpy(fill.weight(name, shape))
        for name, shape in shapes.items()
        if name.startswith(strip)
    }
