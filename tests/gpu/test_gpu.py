"""On a machine with a GPU: it computes what the CPU does, and the tools run on it."""

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from rs_mm.datasets.fake.multilabel_images import make_multilabel
from tests.distributed import free_port
from tests.gpu.compare import CONFIGS

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/demo/oml_r18_64_12e_fake_ucm.py'
pytestmark = pytest.mark.slow


def environment():
    shown = os.environ['RS_MM_TEST_GPUS']
    env = {
        **os.environ,
        'PYTHON': sys.executable,
        'PORT': str(free_port()),
        'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]),
    }
    del env['CUDA_VISIBLE_DEVICES']
    return env if shown == 'all' else {**env, 'CUDA_VISIBLE_DEVICES': shown}


@lru_cache
def gpus():
    count = subprocess.run(
        [sys.executable, '-c', 'import torch; print(torch.cuda.device_count())'],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(count.stdout)


@pytest.fixture
def run():
    if not gpus():
        pytest.skip('no GPU')

    def run(*command, check=True):
        done = subprocess.run(
            list(map(str, command)),
            env=environment(),
            capture_output=True,
            text=True,
            timeout=600,
            cwd=ROOT,
        )
        assert not check or done.returncode == 0, done.stderr[-3000:]
        return done

    return run


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ucm')
    make_multilabel(folder, 'ucm', images=120, size=64)
    return [f'{split}_dataloader.dataset.data_root={folder}' for split in ('train', 'val', 'test')]


@pytest.mark.parametrize('system', CONFIGS)
def test_equals_the_cpu(run, system):
    print(run(sys.executable, '-m', 'tests.gpu.compare', system).stdout)


@pytest.mark.parametrize(
    'options',
    [
        [],
        ['--amp'],
        [
            '--cfg-options',
            'optim_wrapper.type=AmpOptimWrapper',
            'optim_wrapper.dtype=bfloat16',
            'compile=True',
            'channels_last=True',
        ],
    ],
    ids=['float32', 'float16', 'fast'],
)
def test_trains_resumes_and_tests(run, data, tmp_path, options):
    settings = ['train_cfg.max_epochs=2', 'default_hooks.checkpoint.interval=1', *data]
    options = [*options, *([] if '--cfg-options' in options else ['--cfg-options']), *settings]
    train = [sys.executable, 'tools/train.py', CONFIG, '--work-dir', tmp_path / 'run']
    run(*train, *options)
    log = run(*train, '--resume', *options, 'train_cfg.max_epochs=3')
    assert 'peak_memory_mib' in log.stdout + log.stderr
    run(
        sys.executable,
        'tools/test.py',
        CONFIG,
        tmp_path / 'run/epoch_3.pth',
        '--work-dir',
        tmp_path / 'test',
        '--show-dir',
        tmp_path / 'pictures',
        '--cfg-options',
        *data,
    )
    assert list((tmp_path / 'pictures').rglob('*.png'))


def test_one_process_per_gpu(run, data, tmp_path):
    options = ['--cfg-options', 'train_cfg.max_epochs=1', *data]
    run('bash', 'tools/dist_train.sh', CONFIG, gpus(), '--work-dir', tmp_path / 'run', *options)
    done = run(
        'bash',
        'tools/dist_train.sh',
        CONFIG,
        gpus() + 1,
        '--work-dir',
        tmp_path / 'more',
        *options,
        check=False,
    )
    assert done.returncode != 0
    assert 'start no more processes than GPUs' in done.stdout + done.stderr


def test_sharded(run, data, tmp_path):
    config = tmp_path / 'sharded.py'
    config.write_text(
        f"_base_ = ['{ROOT / CONFIG}', "
        f"'{ROOT / 'configs/_base_/strategies/fsdp.py'}']\n"
        "strategy = dict(units=['encoder'])\n"
    )
    run(
        'bash',
        'tools/dist_train.sh',
        config,
        gpus(),
        '--work-dir',
        tmp_path / 'run',
        '--cfg-options',
        'train_cfg.max_epochs=1',
        'default_hooks.checkpoint.interval=1',
        *data,
    )
    run(
        sys.executable,
        'tools/test.py',
        CONFIG,
        tmp_path / 'run/epoch_1.pth',
        '--work-dir',
        tmp_path / 'test',
        '--cfg-options',
        *data,
    )
