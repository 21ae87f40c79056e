"""Messages for a run whose other processes, or whose loader workers, are lost or hang."""

from __future__ import annotations

import datetime
import errno
import os
import re
import time
from types import FrameType

_LOST = re.compile('Connection (was likely )?(closed|reset)|Broken pipe|ncclRemoteError')
_WAITED = re.compile(r'[Tt]imed out waiting|[Tt]imeout|timed out after|wait timeout')
_DISTRIBUTED = re.compile('gloo|nccl|NCCL|store|send|recv|collective|pair|peer', re.IGNORECASE)
_WORKER_TIMEOUT = re.compile(r'DataLoader timed out after (\d+) seconds')
_WORKER_ENDED = re.compile(
    r'DataLoader worker \(pid\(?s?\)? (?P<pid>[\d, ]+)\) (?P<how>exited unexpectedly|'
    r'is killed by signal: (?P<signal>[^.]+))'
)
_ANSWER = 5  # seconds in which a process must show that it still runs


def is_distributed() -> bool:
    """Returns whether this is one of several processes of a run."""
    return int(os.environ.get('WORLD_SIZE', 1)) > 1


def lost_peer(error: BaseException) -> bool:
    """Returns whether a collective failed because another process is lost."""
    return isinstance(error, RuntimeError) and is_distributed() and bool(_LOST.search(str(error)))


def waited_for_peer(error: BaseException) -> bool:
    """Returns whether a collective waited longer than ``env_cfg.dist_cfg.timeout``."""
    text = str(error)
    return (
        isinstance(error, RuntimeError)
        and is_distributed()
        and not _WORKER_TIMEOUT.search(text)
        and bool(_WAITED.search(text) and _DISTRIBUTED.search(text))
    )


def explain_waiting(error: BaseException) -> str:
    """Returns the sentence for :func:`waited_for_peer`, with the processes that do not answer."""
    silent = _silent_processes()
    names = ', '.join(map(str, silent))
    who = f'process {names} of this job does not answer' if silent else 'a process did not answer'
    return (
        f'{who}: it was waited for as long as env_cfg.dist_cfg.timeout allows. It may be stopped, '
        'wait for its data, or its machine may be lost; --resume goes on from the last checkpoint.'
    )


def _silent_processes() -> list[int]:
    """Returns the ranks that do not answer within a few seconds."""
    import torch.distributed as dist

    try:
        store = dist.distributed_c10d._get_default_store()
        world, rank = dist.get_world_size(), dist.get_rank()
        store.set_timeout(datetime.timedelta(seconds=_ANSWER))
        store.set(f'rs_mm/here/{rank}', '1')
        deadline = time.monotonic() + _ANSWER
        silent = list(range(world))
        while silent and time.monotonic() < deadline:
            silent = [other for other in silent if not store.check([f'rs_mm/here/{other}'])]
            time.sleep(0.2)
        return silent
    except Exception:  # the process with the store is the lost process
        return [0]


def explain_worker(error: BaseException) -> str | None:
    """Returns the sentence for a worker of a loader that ended or hangs; None for another error."""
    text = str(error)
    if found := _WORKER_TIMEOUT.search(text):
        return (
            f'{_waiting_for(error)} gave no batch for {found[1]} seconds: it is stopped, its disk '
            'does not answer, or /dev/shm is full. Look above for its own words; the setting is '
            '`timeout` of the data loader.'
        )
    if found := _WORKER_ENDED.search(text):
        how = f'was ended by {found["signal"]}' if found['signal'] else 'ended without a word'
        return (
            f'the loader worker {found["pid"].strip()} {how}, as happens for want of memory (or '
            'of /dev/shm); use fewer `num_workers`, a smaller batch, or more memory.'
        )
    return None


def _waiting_for(error):
    for frame in _frames(error):
        loader = frame.f_locals.get('self')
        if type(loader).__name__ == '_MultiProcessingDataLoaderIter':
            task = loader._task_info.get(loader._rcvd_idx, ())
            if task and task[0] < len(loader._workers):
                return f'the loader worker {task[0]} (process {loader._workers[task[0]].pid})'
    return 'a loader worker'


def _frames(error) -> list[FrameType]:
    frames, step = [], error.__traceback__
    while step:
        frames.append(step.tb_frame)
        step = step.tb_next
    return frames


def explain_system_error(error: BaseException) -> str | None:
    """Returns the sentence for a full disk, too many open files and similar; None for another
    error."""
    number = getattr(error, 'errno', None)
    text = str(error)
    if number in (errno.EMFILE, errno.ENFILE) or 'Too many open files' in text:
        return (
            'too many files are open at once; raise the limit (`ulimit -n 65536`) or use fewer '
            '`num_workers`.'
        )
    name = getattr(error, 'filename', None)
    place = f' ({name})' if name else ''
    if number in (errno.ENOSPC, errno.EDQUOT) or 'No space left on device' in text:
        where = 'of /dev/shm' if 'torch_' in text else f'on the disk{place}'
        return (
            f'there is no room left {where}; what was written before is whole. Make room, and go '
            'on with --resume.'
        )
    if number in (errno.EROFS, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG, errno.ELOOP):
        return f'{error.strerror}{place}.'  # type: ignore[attr-defined]
    return None
