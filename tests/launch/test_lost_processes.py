"""Nothing is waited for without an end, and the end is one sentence that names who is missing."""

import datetime
import errno
import os
import re
import signal
import time

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from torch.utils.data import DataLoader

from rs_mm import compat
from rs_mm.launch.command_line import user_message
from rs_mm.launch.config import prepare
from tests.distributed import run_processes
from tests.toy import toy_config


def one_sleeps(rank):
    group = dist.new_group(timeout=datetime.timedelta(seconds=2))
    if rank == 1:
        time.sleep(9)
        return dict(message='slept')
    begun = time.monotonic()
    try:
        dist.all_reduce(torch.ones(1), group=group)
    except RuntimeError as error:
        return dict(message=user_message(error), seconds=time.monotonic() - begun)
    return dict(message='nothing')


def test_a_stopped_process_is_named(tmp_path):
    said = run_processes(one_sleeps, tmp_path)[0]
    assert said['message'].startswith('process 1 of this job does not answer'), said
    assert said['seconds'] < 9


def test_the_timeout_of_the_config_holds_on_a_cpu(tmp_path, monkeypatch):
    given = {}
    for name, value in dict(RANK=0, WORLD_SIZE=1, LOCAL_RANK=0).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(
        dist, 'init_process_group', lambda backend, **settings: given.update(settings)
    )
    prepare(Config(toy_config(tmp_path, env_cfg=dict(dist_cfg=dict(timeout=15)))), 'pytorch')
    assert given == dict(timeout=datetime.timedelta(seconds=15))


class Stubborn(torch.utils.data.Dataset):
    def __init__(self, action):
        self.action = action

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 2:
            self.action()
        return index


def sleep():
    time.sleep(20)


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


@pytest.mark.parametrize(
    'action, expected',
    [
        (sleep, r'the loader worker 0 \(process \d+\) gave no batch for 2 seconds'),
        (stop, r'the loader worker 0 \(process \d+\) gave no batch for 2 seconds'),
    ],
)
def test_a_worker_that_hangs_is_named(action, expected):
    compat.apply_for_runs()
    loader = DataLoader(Stubborn(action), num_workers=1, timeout=2)
    batches = iter(loader)
    with pytest.raises(RuntimeError) as caught:
        list(batches)
    torch._C._remove_worker_pids(id(batches))  # else their end is an error, too
    for worker in batches._workers:
        worker.kill()
    assert re.match(expected, user_message(caught.value))


def test_loaders_have_a_timeout(tmp_path):
    cfg = prepare(Config(toy_config(tmp_path, workers=2)))
    assert cfg.train_dataloader.timeout == 600
    cfg = prepare(Config(toy_config(tmp_path, workers=0)))
    assert 'timeout' not in cfg.train_dataloader


@pytest.mark.parametrize(
    'error, words',
    [
        (
            OSError(errno.ENOSPC, 'No space left on device', 'a.pth'),
            'no room left on the disk (a.pth)',
        ),
        (OSError(errno.EMFILE, 'Too many open files'), 'raise the limit (`ulimit -n 65536`)'),
        (RuntimeError('Too many open files. Communication with the workers is'), 'ulimit -n'),
        (RuntimeError('unable to write to file </torch_12>: No space left on device'), '/dev/shm'),
        (RuntimeError('DataLoader worker (pid 12) is killed by signal: Killed. '), 'by Killed'),
        (RuntimeError('DataLoader worker (pid(s) 1, 2) exited unexpectedly'), 'worker 1, 2 ended'),
        (OSError(errno.EROFS, 'Read-only file system', 'x/y'), 'Read-only file system (x/y)'),
    ],
)
def test_troubles_of_the_system_are_sentences(error, words):
    assert words in user_message(error)
