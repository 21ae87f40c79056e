"""Training and testing configs with several seeds, each in its own process and folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rs_mm.errors import ConfigError, MissingFileError
from rs_mm.launch.config import load_config
from rs_mm.launch.work_dir import newest_checkpoint


def run_seeds(
    configs: Sequence[str],
    seeds: Sequence[int],
    work_dir: str | Path = 'work_dirs/seeds',
    options: Sequence[str] = (),
    launcher: str = 'none',
    processes: int = 1,
    amp: bool = False,
) -> list[Path]:
    """Trains and tests every config with every seed; finished runs are not repeated.

    The best checkpoint is tested if the config keeps one (``save_best``), else the last. A run is
    in ``WORK_DIR/CONFIG/seedN``, with ``metrics.json`` and ``samples.csv`` of its test; an
    interrupted run continues where it stopped. A failed run is reported, and the others run.

    Args:
        configs: config files with different names.
        seeds: values of ``randomness.seed``.
        work_dir: folder of all runs.
        options: ``KEY=VALUE`` for every run.
        launcher: ``none``, or ``pytorch``, ``slurm`` (srun, inside an allocation) or ``mpi``
            (mpirun) with ``processes`` processes for every run.
        processes: number of processes with a launcher.
        amp: mixed precision.

    Returns: The folders of the configs.

    Raises:
        ConfigError: two configs have the same name, a seed occurs twice, or runs failed.
    """
    names = [Path(config).stem for config in configs]
    if len(set(names)) < len(names):
        raise ConfigError(f'two configs have one name: {names}; the runs would share a folder.')
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f'--seeds {seeds}: a seed is there twice.')
    for config in configs:
        cfg = load_config(config, list(options))  # errors in a config are reported before any run
        if cfg.get('training_free') and len(seeds) > 1:
            raise ConfigError(f'{config} trains nothing, so seeds make no difference; give one.')
    failed = []
    for seed in seeds:
        for config, name in zip(configs, names):
            folder = Path(work_dir) / name / f'seed{seed}'
            try:
                _run(config, seed, folder, list(options), launcher, processes, amp)
            except subprocess.CalledProcessError as error:
                failed.append(f'{folder} (exit status {error.returncode})')
    if failed:
        raise ConfigError(
            f'{len(failed)} of {len(seeds) * len(configs)} runs failed: {", ".join(failed)}; what '
            'they said stands above. Run the same command again for them alone.'
        )
    return [Path(work_dir) / name for name in names]


def _run(config, seed, folder, options, launcher, processes, amp):
    metrics = folder / 'metrics.json'
    if metrics.is_file():
        print(f'{metrics} is there: this run is finished')
        return
    start = {
        'none': [sys.executable],
        'pytorch': [
            *(sys.executable, '-m', 'torch.distributed.run', '--standalone'),
            f'--nproc-per-node={processes}',
        ],
        'slurm': ['srun', f'--ntasks={processes}', sys.executable],
        'mpi': ['mpirun', '-n', str(processes), sys.executable],
    }[launcher]
    start += ['-m', 'rs_mm']
    both = ['--launcher', launcher, '--cfg-options', *options, f'randomness.seed={seed}']
    checkpoint = []
    if not load_config(config, options).get('training_free'):
        print(f'{folder}: training', flush=True)
        more = ['--amp'] if amp else []
        subprocess.run(
            [*start, 'train', config, '--work-dir', str(folder), '--resume', *more, *both],
            check=True,
        )
        checkpoint = [str(_checkpoint(folder))]
    print(f'{folder}: test', flush=True)
    subprocess.run(
        [
            *start,
            'test',
            config,
            *checkpoint,
            *('--work-dir', str(folder / 'test'), '--out', str(metrics)),
            *('--out-samples', str(folder / 'samples.csv')),
            *both,
        ],
        check=True,
    )


def _checkpoint(folder):
    best = sorted(folder.glob('best_*.pth'))
    path = best[-1] if best else newest_checkpoint(folder)
    if path is None:
        raise MissingFileError(f'{folder} holds no checkpoint after the training.')
    return path
