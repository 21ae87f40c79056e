"""SIGTERM and SIGUSR1 of a scheduler: to the processes of a run they say "save and go"."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from mmengine.dataset import worker_init_fn

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_WORKER_LEFT = 60  # seconds that a worker which was told to end may take

_caught: list[int] = []


class Preempted(SystemExit):
    """Ends a run that was told to, after it saved its state; the status is that of the signal.

    128 + the signal's number is what schedulers take for a job that was ended from outside, to be
    queued again: 143 for SIGTERM, 138 for SIGUSR1.
    """


@contextlib.contextmanager
def catching_signals() -> Iterator[None]:
    """Notes :data:`SIGNALS` instead of ending the process; see :func:`caught`."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets only the main thread do this
        return
    _caught.clear()
    before = {number: signal.signal(number, lambda n, _: _caught.append(n)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _caught.clear()


def caught() -> int:
    """The number of the first signal that was caught; 0 if there was none."""
    return _caught[0] if _caught else 0


def begin_worker(worker_id: int, **settings: Any) -> None:
    """mmengine's own start of a worker, which then leaves the signals to the main process.

    Schedulers send them to every process of a job. A worker would end at once, and with it the
    step under way.
    """
    worker_init_fn(worker_id, **settings)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # the main process ends a worker that hangs by SIGTERM, too: it may not stay for ever
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_WORKER_LEFT))
