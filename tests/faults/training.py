"""Faults of whole trainings: tools/train.py on a toy config, disturbed from outside."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.cases import HELD, REFUSED, Fault

ROOT = Path(__file__).parents[2]
GROUP = 'Trainings'
_PART = '''
import os, signal, time
import torch
from mmengine.hooks import Hook
from rs_mm.registry import HOOKS, TRANSFORMS

@HOOKS.register_module()
class PacedHook(Hook):
    """Gives the disturbance time to come."""
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        time.sleep(float(os.environ.get('PACE', '0')))
        if 'FILL' in os.environ and runner.iter == 4:
            with open(os.environ['FILL'], 'wb') as file:
                while file.write(bytes(1 << 12)):
                    file.flush()
        if os.environ.get('STOP_RANK') == str(runner.rank) and runner.iter == 4:
            os.kill(os.getpid(), signal.SIGSTOP)

@TRANSFORMS.register_module()
class WorkerFault:
    """Disturbs the worker that loads the given sample."""
    def __call__(self, results):
        fault = os.environ.get('WORKER_FAULT')
        if fault and results['sample_idx'] == 3 and torch.utils.data.get_worker_info():
            os.kill(os.getpid(), getattr(signal, fault))
        return results
'''


def _config(folder, **over):
    from mmengine.config import Config

    from tests.toy import toy_config

    (folder / 'parts.py').write_text(_PART)
    config = toy_config(folder / 'run', iters=12, batch_size=4, **over)
    config['custom_imports']['imports'] += ['parts']
    config['custom_hooks'] = [dict(type='PacedHook')]
    config['train_dataloader']['dataset']['pipeline'] = [
        dict(type='WorkerFault'),
        dict(type='ToyNoise'),
    ]
    config['model'] = dict(type='ToyModel', dropout=0.0)
    config['default_hooks']['checkpoint']['interval'] = 3
    del config['experiment_name']
    Config(config).dump(folder / 'toy.py')
    return folder / 'toy.py'


def _start(folder, *options, processes=1, before='', **environment):
    """Starts a training; ``before``: shell commands first, in a name space of mounts of its own."""
    env = {
        **os.environ,
        'PYTHONPATH': f'{ROOT}{os.pathsep}{folder}',
        'OMP_NUM_THREADS': '1',
        'PYTHON': sys.executable,
        'PORT': str(random.randrange(20_000, 60_000)),
        **environment,
    }
    tool = [sys.executable, 'tools/train.py', str(folder / 'toy.py')]
    if processes > 1:
        tool = ['bash', 'tools/dist_train.sh', str(folder / 'toy.py'), str(processes)]
    command = [*tool, *options]
    if before:
        command = ['unshare', '-m', 'bash', '-ec', f'{before}; exec "$@"', '-', *command]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _end(process, timeout=300):
    """Status, and what it wrote as errors."""
    try:
        errors = process.communicate(timeout=timeout)[1]
    except subprocess.TimeoutExpired:
        _kill_session(process.pid)
        process.communicate()
        return 'waited for ever', ''
    return process.returncode, errors


def _kill_session(session):
    """Kills all that a process started; the scripts put their jobs into groups of their own."""
    for folder in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            if os.getsid(int(folder.name)) == session:
                os.kill(int(folder.name), signal.SIGKILL)


def _weights(path):
    from rs_mm.checkpoint import load_file

    return load_file(path)['state_dict']


def _equal(first, second):
    import torch

    return all(torch.equal(value, second[name]) for name, value in first.items())


def _wait_for(path, process, seconds=240):
    deadline = time.time() + seconds
    while not path.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.05)


def _one_sentence(status, errors, words):
    found = [line for line in errors.splitlines() if line.startswith('error: ')]
    if status == 2 and len(found) >= 1 and re.search(words, found[0]):
        return REFUSED
    return f'status {status}: {errors.strip()[-200:]!r}'


def _resumed_is_equal(folder, status_wanted=None, processes=1, number=signal.SIGKILL, pause=0.0):
    _config(folder)
    ended = _start(folder, processes=processes, PACE='0.4')
    _wait_for(folder / 'run/last_checkpoint', ended)
    time.sleep(pause)
    os.kill(ended.pid, number) if number != signal.SIGKILL else _kill_session(ended.pid)
    status, errors = _end(ended)
    if status_wanted is not None and status != status_wanted:
        return f'status {status}: {errors[-200:]!r}'
    before = {path.name for path in (folder / 'run').glob('*.pth')}
    if status_wanted and 'preempted.pth' not in before and 'iter_12.pth' not in before:
        return f'nothing saved: {before}'
    status, errors = _end(_start(folder, '--resume', processes=processes))
    if status:
        return f'resume: status {status}: {errors[-200:]!r}'
    resumed = _weights(folder / 'run/iter_12.pth')
    status, errors = _end(_start(folder, '--work-dir', str(folder / 'whole'), processes=processes))
    return HELD if _equal(resumed, _weights(folder / 'whole/iter_12.pth')) else 'other weights'


def training_faults() -> Iterator[Fault]:
    """Every kind of disturbed training."""

    def killed(folder, draw):
        return _resumed_is_equal(folder, pause=draw.uniform(0, 2))

    yield Fault(GROUP, 'kill -9 at any moment, --resume: equal to the last bit', killed, tries=3)
    for number, status in ((signal.SIGTERM, 143), (signal.SIGUSR1, 138)):
        for processes in (1, 2):

            def told(folder, draw, number=number, status=status, processes=processes):
                return _resumed_is_equal(folder, status, processes, number, draw.uniform(0, 1))

            name = f'{signal.Signals(number).name}, {processes} process(es), --resume: no step lost'
            yield Fault(GROUP, name, told)

    def worker(fault, words):
        def run(folder, draw):
            _config(folder, workers=2)
            options = ('--cfg-options', 'train_dataloader.timeout=10')
            return _one_sentence(*_end(_start(folder, *options, WORKER_FAULT=fault)), words)

        return run

    yield Fault(GROUP, 'a loader worker is killed', worker('SIGKILL', 'loader worker'))
    yield Fault(GROUP, 'a loader worker is stopped', worker('SIGSTOP', r'loader worker \d'))

    def rank(folder, draw):
        _config(folder, env_cfg=dict(dist_cfg=dict(timeout=15)))
        status, errors = _end(_start(folder, processes=2, STOP_RANK='1'))
        said = re.search('error: process 1 of this job does not answer', errors)
        return REFUSED if said and status else f'status {status}: {errors.strip()[-200:]!r}'

    yield Fault(GROUP, 'a process is stopped, dist_cfg.timeout=15', rank)

    def no_files(folder, draw):
        _config(folder, workers=4)
        command = f'ulimit -n 24; exec "{sys.executable}" tools/train.py "{folder}/toy.py"'
        env = {**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{folder}'}
        done = subprocess.run(
            ['bash', '-c', command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
        )
        return _one_sentence(done.returncode, done.stderr, 'too many files')

    yield Fault(GROUP, 'too few open files are allowed', no_files)

    def mounted(name, place, options, words, *arguments, **environment):
        """A fault of a file system, which only the training sees."""

        def run(folder, draw):
            _config(folder, workers=environment.get('workers', 0))
            (folder / 'small').mkdir()
            at = str(folder / 'small') if place == 'small' else place
            before = f'mount -t tmpfs -o {options} none {at}'
            variables = {k: v.format(folder) for k, v in environment.items() if k != 'workers'}
            given = [text.format(folder) for text in arguments]
            status, errors = _end(_start(folder, *given, before=before, **variables))
            if 'unshare' in errors or 'mount:' in errors:
                return 'not tried: no right to mount'
            return _one_sentence(status, errors, words)

        return Fault(GROUP, name, run)

    inside = ('--work-dir', '{}/small/run')
    yield mounted('the disk is full from the start', 'small', 'size=12k', 'no room left', *inside)
    yield mounted(
        'the disk becomes full during a checkpoint', 'small', 'size=1m', 'no room left',
        *inside, FILL='{}/small/run/fill',
    )  # fmt: skip
    yield mounted(
        'the work folder cannot be written to', 'small', 'ro', 'nothing can be written', *inside
    )
    yield mounted(
        '/dev/shm is full', '/dev/shm', 'size=4k', r'loader worker',
        '--cfg-options', 'train_dataloader.timeout=20', workers=2,
    )  # fmt: skip

    def second_run(folder, draw):
        _config(folder)
        first = _start(folder, PACE='30')
        _wait_for(folder / 'run/.lock', first)
        outcome = _one_sentence(*_end(_start(folder)), 'another run trains there')
        _kill_session(first.pid)
        first.communicate()
        return outcome

    yield Fault(GROUP, 'a second training in the work folder of a running one', second_run)

    def unlike(words, *options, **over):
        def run(folder, draw):
            _config(folder, **over)
            return _one_sentence(*_end(_start(folder, *options)), words)

        return run

    yield Fault(
        GROUP, 'the work folder is a file', unlike('a file is in the way', '--work-dir', __file__)
    )
    yield Fault(
        GROUP, '--resume of a file that is not there', unlike('no checkpoint', '--resume', 'x.pth')
    )
