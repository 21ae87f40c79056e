"""The signals SIGTERM and SIGUSR1 of a scheduler, which tell a run to save its state and end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from mmengine.dataset import worker_init_fn

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_WORKER_LEFT = 60  # seconds that a worker may take to end

_caught: list[int] = []


class Preempted(SystemExit):
    """Ends a run that was told to end, after it saved its state; the status is that of the signal.

    Schedulers recognise 128 + the signal's number as a job that was ended from outside, and queue
    it again: 143 for SIGTERM, 138 for SIGUSR1.
    """


@contextlib.contextmanager
def catching_signals() -> Iterator[None]:
    """Notes :data:`SIGNALS` instead of ending the process; see :func:`caught`."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may do this in Python
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
    """Returns the number of the first caught signal; 0 if there was none."""
    return _caught[0] if _caught else 0


def begin_worker(worker_id: int, **settings: Any) -> None:
    """Starts a worker as mmengine does, and leaves the signals to the main process.

    Schedulers send the signals to every process of a job. Without this, a worker would end at once
    and interrupt the current step.
    """
    worker_init_fn(worker_id, **settings)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # the main process also ends a hanging worker by SIGTERM, so the worker must not ignore it for
    # ever
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_WORKER_LEFT))
