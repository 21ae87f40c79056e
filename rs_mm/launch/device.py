"""The device of a model."""

from __future__ import annotations

import torch

from rs_mm.errors import ConfigError


def pick_device(name: str | None = None) -> str:
    """Returns the device of this name; without a name CUDA if available, else the CPU.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ...

    Raises:
        ConfigError: torch does not know the device, or the machine does not have it.
    """
    if name is None:
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # AssertionError if torch is built for CPUs
        there = ', '.join(['cpu', *(f'cuda:{i}' for i in range(torch.cuda.device_count()))])
        raise ConfigError(f'device {name!r} does not exist; this machine has {there}.') from error
    return name
