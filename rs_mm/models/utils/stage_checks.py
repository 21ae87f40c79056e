"""Checks of the settings that a backbone has for each stage."""

from __future__ import annotations

from collections.abc import Sequence

from rs_mm.errors import ConfigError


def check_stages(owner: str, **settings: Sequence) -> None:
    """Checks that every setting has one entry per stage.

    Args:
        owner: class to name in the error.
        **settings: by their config keys.
    """
    lengths = {key: len(values) for key, values in settings.items()}
    if len(set(lengths.values())) > 1:
        listed = ', '.join(f'{key} has {length}' for key, length in lengths.items())
        raise ConfigError(f'the settings of {owner} need one entry per stage, but {listed}.')


def check_divides(owner: str, key: str, divisors: Sequence[int], channels: Sequence[int]) -> None:
    """Checks that heads or groups divide the channels of their stage.

    Args:
        owner, key: class and config key to name in the error.
        divisors, channels: one per stage.
    """
    for stage, (divisor, width) in enumerate(zip(divisors, channels), 1):
        if divisor < 1 or width % divisor:
            raise ConfigError(
                f'{key}={list(divisors)} of {owner}: {divisor} does not divide the '
                f'{width} channels of stage {stage}.'
            )
