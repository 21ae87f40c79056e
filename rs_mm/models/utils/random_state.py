"""Keeping the random state: reading a sample must not change the random draws of a training."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def keep_random_state() -> Iterator[None]:
    """Restores the generators of ``random``, numpy and torch (CPU) afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
