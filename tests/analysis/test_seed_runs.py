"""Runs over seeds: the command of each, what is finished, what fails, and real processes."""

import csv
import json
import subprocess
from pathlib import Path

import pytest
from mmengine.config import Config

from rs_mm.analysis import seed_runs
from rs_mm.apis import test as run_test
from rs_mm.datasets.fake.change_pairs import make_levir_cd
from rs_mm.errors import ConfigError
from tests.toy_change import toy_model_config

ROOT = Path(__file__).parents[2]


def write_config(folder, name, iters=2):
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/levircd_256.py')
    cfg.merge_from_dict(dict(Config.fromfile(ROOT / 'configs/_base_/schedules/cd_80k.py')))
    cfg.update(
        model=toy_model_config(),
        custom_imports=dict(imports=['tests.toy_change']),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iters, val_interval=iters),
        param_scheduler=[],
    )
    cfg.default_hooks.checkpoint.interval = iters
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, batch_size=2, persistent_workers=False)
        loader.dataset.data_root = str(folder / 'data')
    cfg.train_dataloader.dataset.pipeline[3].crop_size = (32, 32)
    cfg.dump(folder / f'{name}.py')
    return str(folder / f'{name}.py')


@pytest.fixture
def commands(monkeypatch):
    """The commands that would run; each leaves what the next one needs."""
    seen = []

    def run(command, check):
        seen.append(command)
        if 'seed=1' in command[-1] and 'b.py' in ' '.join(command):
            raise subprocess.CalledProcessError(1, command)
        if 'train' in command:
            folder = Path(command[command.index('--work-dir') + 1])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / 'best_mIoU_iter_2.pth').touch()
        else:
            Path(command[command.index('--out') + 1]).write_text('{"mIoU": 1}')

    monkeypatch.setattr(seed_runs.subprocess, 'run', run)
    return seen


@pytest.mark.parametrize(
    ('launcher', 'start'),
    [
        ('none', ['-m', 'rs_mm', 'train']),
        ('pytorch', ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']),
        ('slurm', ['srun', '--ntasks=2']),
        ('mpi', ['mpirun', '-n', '2']),
    ],
)
def test_the_command_of_a_run(commands, tmp_path, launcher, start):
    config = write_config(tmp_path, 'a')
    seed_runs.run_seeds([config], [3], tmp_path / 'w', ['log_level="INFO"'], launcher, 2, amp=True)
    train, test = commands
    assert train[: len(start)] == start or train[1 : 1 + len(start)] == start
    assert ['--launcher', launcher] == train[-5:-3] == test[-5:-3]
    assert train[-2:] == ['log_level="INFO"', 'randomness.seed=3'] == test[-2:]
    assert '--amp' in train and '--resume' in train and '--amp' not in test
    folder = tmp_path / 'w' / 'a' / 'seed3'
    assert str(folder / 'best_mIoU_iter_2.pth') in test
    assert test[test.index('--out-samples') + 1] == str(folder / 'samples.csv')


def test_finished_runs_stay_and_a_failed_one_does_not_stop_the_others(commands, tmp_path):
    configs = [write_config(tmp_path, name) for name in 'ab']
    with pytest.raises(ConfigError, match=r'1 of 6 runs failed: \S*b/seed1 \(exit status 1\)'):
        seed_runs.run_seeds(configs, [0, 1, 2], tmp_path / 'w')
    assert len(commands) == 5 * 2 + 1
    assert (tmp_path / 'w/b/seed2/metrics.json').is_file()
    commands.clear()
    with pytest.raises(ConfigError, match='1 of 6 runs failed'):
        seed_runs.run_seeds(configs, [0, 1, 2], tmp_path / 'w')
    assert len(commands) == 1  # the failed one alone


def test_what_would_share_a_folder_is_refused(tmp_path):
    config = write_config(tmp_path, 'a')
    with pytest.raises(ConfigError, match='two configs have one name'):
        seed_runs.run_seeds([config, config], [0])
    with pytest.raises(ConfigError, match='a seed is there twice'):
        seed_runs.run_seeds([config], [0, 0])
    with pytest.raises(ConfigError, match='trains nothing'):
        seed_runs.run_seeds(['configs/demo/weicom_tiny_patterncom.py'], [0, 1])


@pytest.mark.slow
def test_two_processes_write_the_table_of_one(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    make_levir_cd(tmp_path / 'data', n_train=4, n_val=1, n_test=5, size=64)
    config = write_config(tmp_path, 'a')
    (folder,) = seed_runs.run_seeds([config], [7], tmp_path / 'w', [], 'pytorch', 2)
    (checkpoint,) = (folder / 'seed7').glob('best_*.pth')
    alone = tmp_path / 'alone.csv'
    metrics = run_test(
        config, str(checkpoint), work_dir=str(tmp_path / 'one'), out_samples=str(alone)
    )
    assert json.loads((folder / 'seed7/metrics.json').read_text()) == pytest.approx(
        metrics, nan_ok=True
    )
    tables = [list(csv.DictReader(path.open())) for path in (alone, folder / 'seed7/samples.csv')]
    assert [row['row'] for row in tables[1]] == list('01234')
    assert tables[0] == tables[1]
