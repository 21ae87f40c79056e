"""What every test shares: few threads, a fixed seed, and where the optional real samples lie."""

import os
from pathlib import Path

import pytest
import torch

import rs_mm  # noqa: F401  adapts mmcv and torch before anything imports them

# The tests run alike with and without a GPU; tests/gpu shows the one that is there to the tools.
os.environ.setdefault('RS_MM_TEST_GPUS', os.environ.get('CUDA_VISIBLE_DEVICES', 'all'))
os.environ['CUDA_VISIBLE_DEVICES'] = ''

# real sample images, which are not part of the repository; CONTRIBUTING.md says what lies there
SAMPLES = Path(
    os.environ.get('RS_MM_SAMPLES', Path(__file__).parents[2] / 'shared' / 'data')
).resolve()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    torch.set_num_threads(1 if 'PYTEST_XDIST_WORKER' in os.environ else 2)


@pytest.fixture
def samples():
    """Folder of real sample images that are not part of the repository."""
    if not SAMPLES.is_dir():
        pytest.skip(f'no sample images at {SAMPLES}')
    return SAMPLES
