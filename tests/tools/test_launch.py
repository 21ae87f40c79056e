"""The command lines: several processes, a killed run, a rank that dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from rs_mm.checkpoint import load_file
from tests.distributed import free_port
from tests.toy import toy_config

ROOT = Path(__file__).parents[2]


def environment():
    return {
        **os.environ,
        'PYTHONPATH': str(ROOT),
        'OMP_NUM_THREADS': '1',
        'PYTHON': sys.executable,
        'PORT': str(free_port()),
    }


def run(*command, check=True, timeout=200):
    done = subprocess.run(
        list(map(str, command)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
    )
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture
def config_file(tmp_path):
    """A toy config with a test set of 10, which 3 processes do not share evenly."""

    def write(**over):
        config = toy_config(
            tmp_path / 'run',
            iters=6,
            batch_size=4,
            sync_bn='torch',
            model=dict(type='ToyModel', dropout=0.0),
            **over,
        )
        config['test_dataloader'] = dict(
            batch_size=2,
            num_workers=0,
            dataset=config['train_dataloader']['dataset'],
            sampler=dict(type='DefaultSampler', shuffle=False),
        )
        config.update(
            test_cfg=dict(type='TestLoop'), test_evaluator=dict(type='ToyMetric'), log_level='INFO'
        )
        del config['experiment_name']
        path = tmp_path / 'toy.py'
        Config(config).dump(path)
        return path

    return write


def weights(folder, name='iter_6.pth'):
    return load_file(Path(folder) / name)['state_dict']


def assert_equal_weights(first, second, **tolerance):
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], msg=name, **tolerance)


def test_scripts_train_and_test_alike_on_one_and_more_processes(config_file, tmp_path):
    config = config_file()
    run(sys.executable, 'tools/train.py', config, '--work-dir', tmp_path / 'one')
    run(
        'bash',
        'tools/dist_train.sh',
        config,
        2,
        '--work-dir',
        tmp_path / 'two',
        '--cfg-options',
        'train_dataloader.batch_size=2',
    )
    assert_equal_weights(weights(tmp_path / 'one'), weights(tmp_path / 'two'), rtol=1e-5, atol=1e-6)
    results = []
    for processes in (1, 3):
        out = tmp_path / f'{processes}.json'
        run(
            'bash',
            'tools/dist_test.sh',
            config,
            tmp_path / 'one/iter_6.pth',
            processes,
            '--work-dir',
            tmp_path / 'tested',
            '--out',
            out,
        )
        results.append(json.loads(out.read_text()))
    assert results[0]['count'] == results[1]['count'] == 10
    assert results[0]['mean'] == pytest.approx(results[1]['mean'], rel=1e-5)


SLOW_AND_FRAGILE = '''
import os, time
from mmengine.hooks import Hook
from rs_mm.errors import DataError
from rs_mm.registry import HOOKS


@HOOKS.register_module()
class SlowHook(Hook):
    """Leaves time to kill the run after the checkpoint of iteration 3."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter >= 3:
            time.sleep(int(os.environ.get('SLOW', '20')))


@HOOKS.register_module()
class DyingHook(Hook):

    def __init__(self, of_the_user):
        self.error = DataError if of_the_user else RuntimeError

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.rank == 1 and runner.iter == 2:
            raise self.error('the second rank has had enough')
'''


@pytest.fixture
def extra_hooks(tmp_path):
    (tmp_path / 'extra_hooks.py').write_text(SLOW_AND_FRAGILE)
    return tmp_path


def train_command(processes, config, *arguments):
    if processes == 1:
        return [sys.executable, 'tools/train.py', str(config), *map(str, arguments)]
    return [
        'bash',
        'tools/dist_train.sh',
        str(config),
        str(processes),
        *map(str, arguments),
        '--cfg-options',
        f'train_dataloader.batch_size={4 // processes}',
    ]


def kill_all(argument):
    """SIGKILL to the launcher and its processes, which are in sessions of their own."""
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            command = (folder / 'cmdline').read_bytes().decode(errors='replace')
        except OSError:
            continue  # it has ended meanwhile
        if argument in command:
            os.kill(int(folder.name), signal.SIGKILL)


@pytest.mark.parametrize('processes', [1, 2])
def test_killed_and_resumed(config_file, extra_hooks, tmp_path, processes):
    config = config_file()
    run(*train_command(processes, config, '--work-dir', tmp_path / 'whole'))
    slow = extra_hooks / f'slow_{tmp_path.name}.py'
    text = config.read_text().replace("'tests.toy'", "'tests.toy', 'extra_hooks'")
    slow.write_text(text + "\ncustom_hooks = [dict(type='SlowHook')]\n")
    env = environment()
    env['PYTHONPATH'] += os.pathsep + str(extra_hooks)
    killed = subprocess.Popen(
        train_command(processes, slow, '--work-dir', tmp_path / 'killed'),
        cwd=ROOT,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.time() + 120
    while not (tmp_path / 'killed/last_checkpoint').exists() and time.time() < deadline:
        time.sleep(0.2)
    kill_all(slow.name)
    killed.wait()
    assert not (tmp_path / 'killed/iter_6.pth').exists()
    run(*train_command(processes, config, '--work-dir', tmp_path / 'killed', '--resume'))
    assert_equal_weights(weights(tmp_path / 'whole'), weights(tmp_path / 'killed'), rtol=0, atol=0)


@pytest.mark.parametrize(
    'of_the_user, words',
    [
        (False, 'RuntimeError: the second rank has had enough'),
        (True, 'error: the second rank has had enough (rank 1)'),
    ],
)
def test_a_rank_that_dies_ends_the_job(config_file, extra_hooks, of_the_user, words):
    config = config_file()
    text = config.read_text().replace("'tests.toy'", "'tests.toy', 'extra_hooks'")
    config.write_text(
        text + f"\ncustom_hooks = [dict(type='DyingHook', of_the_user={of_the_user})]\n"
    )
    env = environment()
    env['PYTHONPATH'] += os.pathsep + str(extra_hooks)
    start = time.time()
    done = subprocess.run(
        ['bash', 'tools/dist_train.sh', str(config), '2'],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0 and time.time() - start < 60
    assert words in done.stderr and 'by peer' not in done.stderr


@pytest.mark.parametrize(
    'arguments, words',
    [
        (
            ['{config}', '--cfg-options', 'model.widht=3'],
            "takes no key `widht`; did you mean 'width'",
        ),
        (['{config}', '--resume', 'nowhere.pth'], 'there is no checkpoint nowhere.pth'),
        (['{config}', '--launcher', 'pytorch'], 'needs the environment variable RANK'),
    ],
)
def test_wrong_command_lines_end_in_one_line(config_file, arguments, words):
    config = str(config_file())
    done = run(
        sys.executable, 'tools/train.py', *(a.format(config=config) for a in arguments), check=False
    )
    assert done.returncode == 2
    assert words in done.stderr and 'Traceback' not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith('error: ')


@pytest.mark.parametrize(
    'script, arguments, words',
    [
        ('dist_train.sh', ['a.py'], 'usage: dist_train.sh CONFIG PROCESSES'),
        ('dist_test.sh', ['a.py', 'b.pth'], 'usage: dist_test.sh CONFIG [CHECKPOINT] PROCESSES'),
        ('slurm_test.sh', ['part'], 'usage: slurm_test.sh PARTITION JOB_NAME CONFIG'),
        (
            'slurm_train.sh',
            ['part', 'job', 'a.py'],
            'GPUS=12 does not fill machines of GPUS_PER_NODE=8',
        ),
    ],
)
def test_scripts_say_what_is_wrong(script, arguments, words):
    done = subprocess.run(
        ['bash', f'tools/{script}', *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, 'GPUS': '12'},
    )
    assert done.returncode == 2 and words in done.stderr


@pytest.mark.parametrize('checkpoint', [[], [''], ['7.pth']])
def test_processes_with_and_without_a_checkpoint(checkpoint):
    done = subprocess.run(
        ['bash', 'tools/dist_test.sh', 'a.py', *checkpoint, '3', '--tta'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, 'PYTHON': 'echo'},
    )
    end = ' '.join(['test.py a.py', *filter(None, checkpoint), '--launcher pytorch --tta'])
    assert '--nproc_per_node=3 ' in done.stdout and done.stdout.rstrip().endswith(end)


def slurm_stubs(folder, **scripts):
    """Stand-ins for Slurm's commands, and an environment that finds them."""
    for name, script in scripts.items():
        (folder / name).write_text(f'#!/bin/sh\n{script}\n')
        (folder / name).chmod(0o755)
    return {**os.environ, 'PATH': f'{folder}:{os.environ["PATH"]}', 'GPUS': '4', 'PYTHON': 'py'}


def test_slurm_starts_a_process_per_gpu(tmp_path):
    """With a stand-in for srun that shows its arguments."""
    done = subprocess.run(
        ['bash', 'tools/slurm_test.sh', 'part', 'job', 'a.py', 'b.pth', '--tta'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=slurm_stubs(tmp_path, srun='echo "$@"'),
        check=True,
    )
    assert '--gres=gpu:4 --ntasks=4 --ntasks-per-node=4' in done.stdout
    assert done.stdout.rstrip().endswith('tools/test.py a.py --launcher slurm b.pth --tta')


def test_a_slurm_job_is_queued_again_and_resumes(tmp_path):
    """sbatch runs what it is given at once; srun ends as a run does that was told to."""
    env = slurm_stubs(
        tmp_path,
        sbatch='echo "sbatch $@"; export SLURM_JOB_ID=7 RS_MM_REQUEUE=1\n'
        'while [ "$1" != --wrap ]; do shift; done; sh -c "$2"',
        srun='echo "srun $@"; exit ${ENDS:-138}',
        scontrol='echo "scontrol $@"',
    )
    command = ['bash', 'tools/slurm_train.sh', 'part', 'job', 'a b.py', '--amp']

    def lines(**more):
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env={**env, **more}
        ).stdout.splitlines()

    submitted, started, queued = lines(SLURM_RESTART_COUNT='0')
    assert '--requeue --signal=USR1@180' in submitted and '--ntasks=4' in submitted
    assert started.endswith('tools/train.py a b.py --launcher slurm --amp')
    assert queued == 'scontrol requeue 7'
    assert lines(SLURM_RESTART_COUNT='1')[1].endswith('--launcher slurm --amp --resume')
    assert len(lines(ENDS='2')) == len(lines(ENDS='0')) == 2  # an error is not repeated


@pytest.mark.slow
@pytest.mark.parametrize('number, status', [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_job_of_two_processes_is_told_to_end(config_file, extra_hooks, tmp_path, number, status):
    config = config_file()
    run(*train_command(2, config, '--work-dir', tmp_path / 'whole'))
    slow = extra_hooks / f'slow_{tmp_path.name}.py'
    text = config.read_text().replace("'tests.toy'", "'tests.toy', 'extra_hooks'")
    slow.write_text(text + "\ncustom_hooks = [dict(type='SlowHook')]\n")
    env = environment()
    env['PYTHONPATH'] += os.pathsep + str(extra_hooks)
    env['SLOW'] = '4'  # torchrun kills after 30 s
    ended = subprocess.Popen(
        train_command(2, slow, '--work-dir', tmp_path / 'ended'), cwd=ROOT, env=env
    )
    deadline = time.time() + 120
    while not (tmp_path / 'ended/last_checkpoint').exists() and time.time() < deadline:
        time.sleep(0.2)
    ended.send_signal(number)
    assert ended.wait(timeout=60) == status
    assert not (tmp_path / 'ended/iter_6.pth').exists()
    run(*train_command(2, config, '--work-dir', tmp_path / 'ended', '--resume'))
    assert_equal_weights(weights(tmp_path / 'whole'), weights(tmp_path / 'ended'), rtol=0, atol=0)
