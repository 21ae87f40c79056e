"""A check that a learning-rate schedule lasts as long as the training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from rs_mm.errors import ConfigError

_LOW = 0.1  # share of the highest rate below which a constant rest of the training gives a warning
_FOREVER = 10**8  # mmengine's schedulers without an end have a larger end


def check_schedules(schedulers: Sequence, loop: Any, resumed: bool = False) -> list[str]:
    """Refuses a schedule that reaches its end, at a rate of 0, before the training does.

    Args:
        schedulers: schedulers of one optimizer, at the start or resume of the training.
        loop: the training loop, with ``max_iters``, ``iter``, ``max_epochs`` and ``epoch``.
        resumed: whether a checkpoint has set them.

    Returns: Warnings about a rate that stays low to the end, or rises again.

    Raises:
        ConfigError: the rate is 0 for a part of the training, or a schedule ends too early; the
            message names ``param_scheduler``.
    """
    rates = [s for s in schedulers if s.param_name == 'lr' and hasattr(s, 'begin')]
    by_epoch = [s for s in rates if s.by_epoch]
    whole_epochs = hasattr(loop, 'max_epochs') and loop.max_epochs and loop.max_epochs > 1
    if by_epoch and not whole_epochs and loop.max_iters > 1 and _counts_iterations(loop):
        raise ConfigError(
            f'`param_scheduler`, type={type(by_epoch[0]).__name__!r} counts epochs '
            '(by_epoch=True), of which an iteration-based training has one: the rate would never '
            'change; set by_epoch=False and give begin and end in iterations.'
        )
    warnings = []
    for unit in (True, False):
        own = [s for s in rates if s.by_epoch is unit]
        limit = loop.max_epochs if unit else loop.max_iters
        if own:
            warnings += _check_unit(own, limit, 'epochs' if unit else 'iterations', resumed)
    return warnings


def _counts_iterations(loop):
    return 'Iter' in type(loop).__name__


def _check_unit(schedulers, limit, unit, resumed):
    warnings = []
    for scheduler in schedulers:
        warnings += _check_period(scheduler, limit, unit)
    ends = [min(_end(s), _FOREVER) for s in schedulers]
    last = max(ends)
    if last >= limit:
        return warnings
    peak, final = _follow(schedulers, last)
    what = (
        f'`param_scheduler` ends after {last} of {limit} {unit}'
        + (' (as the checkpoint has it)' if resumed else '')
        + f', at a learning rate of {final:.3g}'
    )
    advice = (
        f'set the `end` of its last entry to {limit}, or train for {last} {unit}'
        if not resumed
        else f'train for {last} {unit}, or start a new training with a schedule of its own from '
        'these weights: `--cfg-options load_from=CHECKPOINT`'
    )
    if final <= 1e-6 * peak:
        raise ConfigError(f'{what}: the rest would train nothing; {advice}.')
    if final < _LOW * peak:
        warnings.append(f'{what}, {final / peak:.2%} of the highest, which the rest keeps.')
    return warnings


def _end(scheduler):
    total = getattr(scheduler, 'total_steps', None)
    return min(scheduler.end, scheduler.begin + total) if total else scheduler.end


def _check_period(scheduler, limit, unit):
    """Checks schedules with a period that is shorter than the training."""
    name, last = type(scheduler).__name__, min(limit, scheduler.end)
    for key, length in (
        ('total_steps', getattr(scheduler, 'total_steps', None)),
        ('periods', sum(getattr(scheduler, 'periods', ())) or None),
    ):
        if length and scheduler.begin + length < last:
            raise ConfigError(
                f'`param_scheduler`, type={name!r}: {key} is over after '
                f'{scheduler.begin + length} of {limit} {unit}; make it as long as the training.'
            )
    period = getattr(scheduler, 'T_max', None)
    if period and scheduler.begin + period < last:
        return [
            f'`param_scheduler`, type={name!r}: T_max={period} is over after '
            f'{scheduler.begin + period} of {limit} {unit}, and the rate rises again from there.'
        ]
    return []


def _follow(schedulers, last):
    """Returns the highest rate, and the rate after the end of the last schedule."""
    first = schedulers[0]
    group = max(first.optimizer.param_groups, key=lambda g: g.get('initial_lr', g['lr']))
    place = next(i for i, g in enumerate(first.optimizer.param_groups) if g is group)
    optimizer = SimpleNamespace(param_groups=[dict(group, params=())], step=None, _global_step=1)
    copies = []
    for scheduler in schedulers:
        own = copy.copy(scheduler)
        own.optimizer, own.verbose = optimizer, False
        own.base_values = [scheduler.base_values[place]]
        own._global_step = max(own._global_step, 0)
        copies.append(own)
    peak = max([optimizer.param_groups[0]['lr'], *(s.base_values[0] for s in copies)])
    while any(s._global_step + 1 < last for s in copies):
        for scheduler in copies:
            scheduler._global_step += 1
            if scheduler.begin <= scheduler._global_step < scheduler.end:
                scheduler.last_step += 1
                optimizer.param_groups[0]['lr'] = scheduler._get_value()[0]
        peak = max(peak, optimizer.param_groups[0]['lr'])
    return peak, optimizer.param_groups[0]['lr']
