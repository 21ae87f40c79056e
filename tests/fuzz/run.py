"""Feeds damaged files to every reader: ``python -m tests.fuzz.run [--inputs N] [--minutes M]``.

A reader holds if each input ends in a value or in one of our own errors: no exception of another
library, no signal, no input that takes more than two seconds of computing. What does not hold is
kept in the folder that ``--keep`` names.

``--totals FILE`` adds the counts of every round to those of the rounds before, so that anyone can
go on: each round draws other damages, and a reader that has had its ``--inputs`` is passed over.
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
_ENDLESS = 20  # seconds of computing after which the process of a reader is ended
_HANG = 300  # seconds of waiting, likewise; a busy machine may leave a process waiting
_MEMORY = 6 << 30
_PIXELS = 1 << 24  # the limit of pixels meanwhile: an image of all that are allowed takes seconds


def fuzz(
    name: str, inputs: int, seconds: float, seed: int, folder: Path, keep: Path | None
) -> dict:
    """Runs one reader in a process of its own.

    Returns:
        dict: ``inputs`` that were read, ``refused`` among them, ``foreign`` (exception -> times),
        ``slow``, ``slowest`` in seconds, and ``ended`` (what ended the process early, if anything).
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
    status = os.waitpid(child, 0)[1]
    ended = f'status {os.WEXITSTATUS(status)}' if os.WEXITSTATUS(status) else ''
    if os.WIFSIGNALED(status):
        ended = {
            signal.SIGPROF: 'computing without end',
            signal.SIGALRM: 'waiting without end',
        }.get(os.WTERMSIG(status), signal.Signals(os.WTERMSIG(status)).name)
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
    os.environ['RS_MM_MAX_PIXELS'] = str(_PIXELS)
    tempfile.tempdir = str(folder)
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
            # an input that outlasts them ends the process
            signal.setitimer(signal.ITIMER_PROF, _ENDLESS)
            signal.setitimer(signal.ITIMER_REAL, _HANG)
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


def held(found: dict) -> bool:
    """Whether a reader gave nothing but values and our own errors, in time."""
    return bool(found['inputs']) and not (found['foreign'] or found['slow'] or found['ended'])


def add(total: dict | None, found: dict, seed: int) -> dict:
    """The counts of one more round added to those of the rounds before."""
    before = total or dict(inputs=0, refused=0, slow=0, slowest=0.0, foreign={}, ended=[], seeds=[])
    return dict(
        inputs=before['inputs'] + found['inputs'],
        refused=before['refused'] + found['refused'],
        slow=before['slow'] + found['slow'],
        slowest=round(max(before['slowest'], found['slowest']), 2),
        foreign=dict(
            collections.Counter(before['foreign']) + collections.Counter(found['foreign'])
        ),
        ended=before['ended'] + ([found['ended']] if found['ended'] else []),
        seeds=[*before['seeds'], seed],
    )


def table(totals: dict) -> str:
    """The totals as Markdown."""
    rows = ['| reader | inputs | refused | slowest | rounds |', '|---|---|---|---|---|']
    for name, total in totals.items():
        rows.append(
            f'| {name} | {total["inputs"]:,} | {total["refused"]:,} | {total["slowest"]:.2f} s | '
            f'{len(total["seeds"])} |{"" if held(total) else " **not held**"}'
        )
    return '\n'.join(rows) + '\n'


def main():
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description='Feed damaged files to every reader')
    parser.add_argument('--inputs', type=int, default=1_000_000, help='per reader')
    parser.add_argument('--seconds', type=float, default=1e9, help='per reader and round, at most')
    parser.add_argument('--minutes', type=float, default=0, help='repeat rounds for as long')
    parser.add_argument('--only', nargs='*', help='names of readers')
    parser.add_argument('--seed', type=int, default=0, help='of the first round')
    parser.add_argument('--totals', type=Path, help='JSON of the counts so far, which grows')
    parser.add_argument('--table', action='store_true', help='print the totals as Markdown; no run')
    parser.add_argument('--keep', type=Path, help='folder for inputs that did not hold')
    args = parser.parse_args()
    totals = json.loads(args.totals.read_text()) if args.totals and args.totals.exists() else {}
    if args.table:
        return print(table(totals), end='')
    names, stop, failed = args.only or list(TARGETS), time.monotonic() + 60 * args.minutes, 0
    while names:
        for name in names:
            total = totals.get(name)
            left = args.inputs - (total['inputs'] if total else 0)
            seed = max([args.seed, *(n + 1 for n in total['seeds'])] if total else [args.seed])
            if left > 0:
                failed += not _round(name, left, seed, args, totals)
        names = [n for n in names if n in totals and totals[n]['inputs'] < args.inputs]
        if time.monotonic() > stop:
            break
    sys.exit(failed > 0)


def _round(name, inputs, seed, args, totals):
    with tempfile.TemporaryDirectory(dir='/dev/shm') as folder:
        found = fuzz(name, inputs, args.seconds, seed, Path(folder), args.keep)
    totals[name] = add(totals.get(name), found, seed)
    if args.totals:
        args.totals.write_text(json.dumps(totals, indent=1) + '\n')
    good = held(found)
    rest = '' if good else f' {found["foreign"]} slow {found["slow"]} ended {found["ended"]!r}'
    print(
        f'{name}: {found["inputs"]:,} inputs, {found["refused"]:,} refused, slowest '
        f'{found["slowest"]:.2f} s: {"held" if good else "NOT HELD"}{rest}',
        flush=True,
    )
    return good


if __name__ == '__main__':
    main()
