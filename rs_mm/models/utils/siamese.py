"""Applying one network to two dates, as one batch if the results do not change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def uses_batch_statistics(module: nn.Module) -> bool:
    """Returns whether a batch norm inside ``module`` would normalise with the statistics of its
    batch."""
    return any(
        isinstance(part, _BatchNorm) and (part.training or part.running_mean is None)
        for part in module.modules()
    )


def both_dates(
    module: nn.Module,
    first: Tensor | Sequence[Tensor],
    second: Tensor | Sequence[Tensor],
    *,
    join: bool = False,
) -> tuple:
    """Applies ``module`` to each date.

    The dates go through as one batch of 2N unless batch norms inside ``module`` take their
    statistics from the batch: then each date has its own statistics and running statistics move
    twice, as in the published DSQNet. Drop path and dropout draw per sample either way.

    Args:
        module: maps a tensor, or a tuple of tensors, to a tensor or tuple of tensors.
        first, second: date 1 and date 2, batch N first.
        join: one batch in every case; batch norms then see both dates together.

    Returns:
        The results for date 1 and for date 2.
    """
    if not join and uses_batch_statistics(module):
        return module(first), module(second)
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        result = module(torch.cat([first, second]))
    else:
        result = module([torch.cat(pair) for pair in zip(first, second)])
    if isinstance(result, Tensor):
        return _halves(result)
    return tuple(zip(*map(_halves, result)))


def _halves(batch):
    half = batch.shape[0] // 2  # chunk and len need a number, but an export has a symbol
    return batch[:half], batch[half:]
