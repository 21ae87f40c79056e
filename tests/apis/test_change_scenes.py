"""Large scenes through the command: memory, and a process that is killed."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

rasterio = pytest.importorskip('rasterio', reason='the extra geo is not installed')

from rs_mm.registry import MODELS  # noqa: E402
from tests.toy_change import toy_model_config  # noqa: E402

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / 'tools/benchmarks/change_scene.py'


@pytest.fixture
def toy(tmp_path):
    """A config and a checkpoint of a tiny model."""
    config, checkpoint = tmp_path / 'toy.py', tmp_path / 'toy.pth'
    config.write_text(
        "default_scope = 'rs_mm'\ncustom_imports = dict(imports=['tests.toy_change'])\n"
        f'model = {toy_model_config()!r}\n'
    )
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(toy_model_config()).state_dict()), checkpoint)
    return config, checkpoint


def start(*command, **kwargs):
    env = os.environ | dict(PYTHONPATH=str(ROOT))
    return subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, env=env, **kwargs)


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def test_a_killed_run_goes_on_to_the_same_map(tmp_path, toy):
    pair = runpy.run_path(str(BENCHMARK))['make_pair'](tmp_path / 'pair', 1500)
    command = [
        ROOT / 'tools/predict_change.py', *pair, *toy, '--tile', 256, '--overlap', 64,
        '--probability', '--device', 'cpu', '--out',
    ]  # fmt: skip
    assert start(*command, tmp_path / 'whole').wait() == 0
    process = start(*command, tmp_path / 'killed')
    hidden = tmp_path / 'killed/.date1_date2.unfinished'
    while len(list(hidden.glob('done_*.npy'))) < 2:
        assert process.poll() is None, 'it ended before it could be killed'
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path.name: path.stat().st_mtime_ns for path in hidden.glob('*.npy')}
    assert finished and not list((tmp_path / 'killed').glob('[!.]*'))
    assert start(*command, tmp_path / 'killed', '--resume').wait() == 0
    for name in ('date1_date2_change.tif', 'date1_date2_probability.tif'):
        np.testing.assert_array_equal(
            read(tmp_path / 'killed' / name), read(tmp_path / 'whole' / name)
        )
    assert not hidden.exists()


@pytest.mark.parametrize('side', [12_000, 30_000])
def test_memory_of_large_scenes(tmp_path, toy, side):
    command = [BENCHMARK, *toy, '--side', side, '--folder', tmp_path / 'scene']
    process = start(*command, stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate()
    assert process.returncode == 0
    found = json.loads(out.strip().splitlines()[-1])
    assert found['peak_memory_mb'] < 2000, found
    mask = tmp_path / 'scene/out/date1_date2_change.tif'
    with rasterio.open(mask) as file:
        assert file.shape == (side, side) and file.overviews(1)
        assert (file.read(1, window=((0, 64), (0, side // 20))) == 127).all()
