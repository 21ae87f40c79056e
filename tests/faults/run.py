"""Injects every fault and writes the table: ``python -m tests.faults.run --out TABLE.md``.

Each try runs in a process of its own, so that a signal or a wait is seen. A kind is held if every
try ended in the right result or in one sentence of ours.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.cases import HELD, REFUSED, Fault, all_faults

_LIMIT = 1200  # seconds for one kind


def observe(fault: Fault, seed: int) -> collections.Counter:
    """What the tries of a fault ended in, and how often."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1), os.dup2(sink, 2)
        for number in range(fault.tries):
            with tempfile.TemporaryDirectory() as folder, contextlib.suppress(BrokenPipeError):
                draw = random.Random(f'{seed} {fault.name} {number}')
                try:
                    outcome = fault.run(Path(folder), draw)
                except BaseException as error:
                    outcome = f'{type(error).__name__}: {str(error)[:100]}'
                os.write(writer, (' '.join(outcome.split()) + '\n').encode())
        os._exit(0)
    os.close(writer)
    deadline, ended = time.monotonic() + _LIMIT, None
    while ended is None:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else ''
        elif time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            ended = 'waited for ever'
        else:
            time.sleep(0.02)
    with os.fdopen(reader) as lines:
        found = collections.Counter(line.strip() for line in lines)
    if ended:
        found[f'ended by {ended}'] += 1
    return found


def held(found: collections.Counter) -> bool:
    """Whether nothing but right results and sentences was observed."""
    return bool(found) and not set(found) - {HELD, REFUSED}


def main():
    parser = argparse.ArgumentParser(description='Inject every fault and write the table')
    parser.add_argument('--out', type=Path, help='the table, as Markdown')
    parser.add_argument('--only', default='', help='a part of the group or name')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    import tests.fuzz.targets  # noqa: F401  once, and not in each process
    from tests.faults.training import training_faults

    faults = [*all_faults(), *training_faults()]
    faults = [fault for fault in faults if args.only in f'{fault.group}: {fault.name}']
    rows, group, good = [], None, 0
    for fault in faults:
        found = observe(fault, args.seed)
        good += held(found)
        if fault.group != group:
            group = fault.group
            rows += ['', f'### {group}', '', '| fault | tries | observed |', '|---|---|---|']
        listed = ', '.join(f'{what} ({n})' if len(found) > 1 else what for what, n in found.items())
        verdict = '' if held(found) else '**not held**: '
        name = fault.name.replace('|', '/')
        rows.append(f'| {name} | {sum(found.values())} | {verdict}{listed} |')
        print(rows[-1], flush=True)
    text = f'{good} of {len(faults)} kinds are held.\n' + '\n'.join(rows) + '\n'
    if args.out:
        args.out.write_text(text)
    print(text.splitlines()[0])
    sys.exit(good < len(faults))


if __name__ == '__main__':
    main()
