"""Where a model runs."""

from __future__ import annotations

import torch

from rs_mm.errors import ConfigError


def pick_device(name: str | None = None) -> str:
    """The device of this name, or CUDA where it is there and no name is given.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ...

    Raises:
        ConfigError: torch knows no such device, or the machine lacks it.
    """
    if name is None:
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # the latter where torch is built for CPUs
        there = ', '.join(['cpu', *(f'cuda:{i}' for i in range(torch.cuda.device_count()))])
        raise ConfigError(f'device {name!r} is not there; this machine has {there}.') from error
    return name
