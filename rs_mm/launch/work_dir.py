"""The folder of a training: its lock, and the checkpoint to resume from."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import time
from pathlib import Path

from mmengine.logging import print_log

from rs_mm.checkpoint_digest import verify
from rs_mm.errors import CheckpointError, ConfigError
from rs_mm.files import remove_unfinished

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = '.lock'
_held: dict[str, int] = {}  # open, and so locked, for the life of the process


def claim(work_dir: str | Path) -> None:
    """Locks a work folder for this process, and removes incomplete files of killed runs.

    The operating system drops the lock at any end of the process, so a lock of an ended process can
    be taken. The lock works between machines if the file system has locks (as NFS 4 does).

    Raises:
        ConfigError: another run trains in the folder, or the folder is not writable.
    """
    path = Path(work_dir) / LOCK
    key = os.path.realpath(path)
    if key in _held:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f'--work-dir {work_dir}: {_why_not(work_dir, error)}.') from error
    try:
        if fcntl is not None:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(file, 4096)
        os.close(file)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise ConfigError(
                f'--work-dir {work_dir}: another run trains there ({_describe(owner)}). Wait for '
                'it, end it, or name another folder.'
            ) from error
        return  # a file system without locks
    mine = dict(host=socket.gethostname(), process=os.getpid(), since=time.strftime('%F %T'))
    with contextlib.suppress(OSError):  # a full disk: the lock holds nevertheless
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(mine).encode(), 0)
    _held[key] = file
    if removed := remove_unfinished(work_dir):
        print_log(f'{work_dir}: {removed} half-written file(s) of a killed run removed', 'current')


def release() -> None:
    """Releases the lock of :func:`claim`."""
    while _held:
        os.close(_held.popitem()[1])


def _why_not(work_dir, error):
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f'a file is in the way of the folder ({error.filename or work_dir})'
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return 'nothing can be written there; name a folder of your own'
    return f'it cannot be used ({error.strerror})'


def _describe(owner):
    try:
        found = json.loads(owner)
        return f'process {found["process"]} on {found["host"]}, since {found["since"]}'
    except (ValueError, KeyError, TypeError):
        return 'it did not say which'


def newest_checkpoint(work_dir: str | Path) -> str | None:
    """Returns the newest undamaged checkpoint of a work folder; the log names damaged ones.

    The newest checkpoint is the one in ``last_checkpoint``, else ``preempted.pth``, else the one
    with the highest number. mmengine rewrites ``last_checkpoint`` in place, so a kill can leave it
    empty.

    Raises:
        CheckpointError: all checkpoints are damaged.
    """
    candidates, damaged = _candidates(Path(work_dir)), []
    for path in candidates:
        if os.path.isdir(path):  # DeepSpeed's shards, which it checks itself
            return path
        try:
            verify(path)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        for text in damaged:
            print_log(f'{text} --resume takes {path} instead.', 'current', level=30)
        return path
    if damaged:
        raise CheckpointError(damaged[0])
    return None


def older_checkpoint(path: str | Path) -> str | None:
    """Returns the newest undamaged checkpoint of the same folder that was written before
    ``path``."""
    path = Path(path)
    with contextlib.suppress(OSError):
        for other in _candidates(path.parent):
            if Path(other).name == path.name or os.path.isdir(other):
                continue
            with contextlib.suppress(CheckpointError):
                if Path(other).stat().st_mtime <= path.stat().st_mtime:
                    verify(other)
                    return other
    return None


def _candidates(folder) -> list[str]:
    note = folder / 'last_checkpoint'
    named = note.read_text(errors='replace').strip() if note.is_file() else ''
    found = [named] if named and '\0' not in named and os.path.exists(named) else []
    if (folder / 'preempted.pth').exists():
        found.append(str(folder / 'preempted.pth'))
    numbered = [
        (int(match[1]), str(path))
        for path in folder.glob('*.pth')
        if (match := re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name))
    ]
    found += [path for _, path in sorted(numbered, reverse=True)]
    unique = {os.path.realpath(path): path for path in reversed(found)}
    return list(dict.fromkeys(unique[os.path.realpath(path)] for path in found))
