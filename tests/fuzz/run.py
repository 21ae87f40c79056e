"""Feeds damaged files to every reader: ``python -m tests.fuzz.run [--inputs N] [--seconds S]``.

A reader holds if each input ends in a value or in one of our own errors: no exception of another
library, no signal, no input that takes more than two seconds. What does not hold is kept in the
folder that ``--keep`` names.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

SLOW = 2.0  # seconds of computing for one input
_HANG = 300  # seconds without any progress; a busy machine may leave a process waiting
_MEMORY = 6 << 30


def fuzz(
    name: str, inputs: int, seconds: float, seed: int, folder: Path, keep: Path | None
) -> dict:
    """Runs one reader in a process of its own.

    Returns:
        dict: ``inputs`` that were read, ``refused`` among them, ``foreign`` (exception -> times),
        ``slow``, and ``ended`` (the signal that ended the process, if one did).
    """
    report = folder / 'report.json'
    child = os.fork()
    if child == 0:
        try:
            _in_child(name, inputs, seconds, seed, folder, report, keep)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    ended = _wait(child, report)
    found = dict(inputs=0, refused=0, foreign={}, slow=0, slowest=0.0)
    if report.exists():
        found.update(json.loads(report.read_text()))
    if ended and keep:
        _keep(keep, name, folder, ended)
    return dict(found, ended=ended)


def _in_child(name, inputs, seconds, seed, folder, report, keep):
    from rs_mm.errors import RSMMError
    from tests.fuzz.mutate import mend_png, mutate
    from tests.fuzz.targets import TARGETS

    target, draw = TARGETS[name], random.Random(f'{seed} {name}')
    warnings.simplefilter('ignore')
    seeds = target.make(folder)
    path = folder / target.file
    path.parent.mkdir(exist_ok=True)
    sound = 0
    for content in seeds:
        path.write_bytes(content)
        with contextlib.suppress(RSMMError):
            target.read(path)
            sound += 1
    if not sound:
        raise AssertionError(f'{name}: no sound file is read, so that damaged ones say nothing')
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sink = os.open(os.devnull, os.O_WRONLY)  # C libraries remark on each file
    os.dup2(sink, 1), os.dup2(sink, 2)
    found = dict(inputs=0, refused=0, foreign=collections.Counter(), slow=0, slowest=0.0)
    stop, saved = time.monotonic() + seconds, 0.0
    while found['inputs'] < inputs and time.monotonic() < stop:
        if time.monotonic() - saved > 0.5:
            report.write_text(json.dumps(found))
            saved = time.monotonic()
        content = mutate(draw.choice(seeds), draw.choice(seeds), draw)
        path.write_bytes(mend_png(content) if draw.random() < 0.5 else content)
        _read_one(target, path, found, keep, name)
    report.write_text(json.dumps(found))


def _read_one(target, path, found, keep, name):
    from rs_mm.errors import RSMMError

    begun = time.process_time()
    try:
        target.read(path)
    except RSMMError:
        found['refused'] += 1
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        what = (
            f'{type(error).__name__}: {str(error)[:60]} ({Path(last.filename).name}:{last.lineno})'
        )
        if what not in found['foreign'] and keep:
            _keep(keep, name, path.parent, type(error).__name__, path)
        found['foreign'][what] += 1
    took = time.process_time() - begun
    found['slowest'] = max(found['slowest'], took)
    if took > SLOW:
        found['slow'] += 1
        if keep:
            _keep(keep, name, path.parent, 'slow', path)
    found['inputs'] += 1


def _keep(keep, name, folder, why, path=None):
    keep.mkdir(parents=True, exist_ok=True)
    for source in [path] if path else list(folder.glob('a.*')):
        shutil.copy(source, keep / f'{name} {why} {time.monotonic_ns()}{source.suffix}')


def _wait(child, report):
    """How the child ended: empty, the name of a signal, or ``hang``."""
    progress, since = None, time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if os.WIFSIGNALED(status):
                return signal.Signals(os.WTERMSIG(status)).name
            return f'status {os.WEXITSTATUS(status)}' if os.WEXITSTATUS(status) else ''
        now = report.stat().st_mtime_ns if report.exists() else None
        if now != progress:
            progress, since = now, time.monotonic()
        if time.monotonic() - since > _HANG:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 'hang'
        time.sleep(0.1)


def held(found: dict) -> bool:
    """Whether a reader gave nothing but values and our own errors, in time."""
    return bool(found['inputs']) and not (found['foreign'] or found['slow'] or found['ended'])


def main():
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description='Feed damaged files to every reader')
    parser.add_argument('--inputs', type=int, default=1_000_000, help='per reader')
    parser.add_argument('--seconds', type=float, default=1e9, help='per reader, at most')
    parser.add_argument('--only', nargs='*', help='names of readers')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--keep', type=Path, help='folder for inputs that did not hold')
    args = parser.parse_args()
    failed = 0
    for name in args.only or TARGETS:
        with tempfile.TemporaryDirectory(dir='/dev/shm') as folder:
            found = fuzz(name, args.inputs, args.seconds, args.seed, Path(folder), args.keep)
        good = held(found)
        failed += not good
        rest = '' if good else f' {found["foreign"]} slow {found["slow"]} ended {found["ended"]!r}'
        print(
            f'{name}: {found["inputs"]:,} inputs, {found.get("refused", 0):,} refused, slowest '
            f'{found.get("slowest", 0):.2f} s: {"held" if good else "NOT HELD"}{rest}',
            flush=True,
        )
    sys.exit(failed > 0)


if __name__ == '__main__':
    main()
