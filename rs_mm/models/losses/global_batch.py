"""The batch of all processes, with gradients: metric losses compare all its pairs."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from rs_mm.errors import ConfigError


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_batch(embedding: Tensor, *others: Tensor | None) -> tuple[Tensor, ...]:
    """Concatenates tensors over processes, in the order of ranks.

    Every process then computes the same loss of the whole batch. The gradient of a process's own
    rows is summed over processes, and DistributedDataParallel averages parameter gradients. So the
    result equals the gradient of one process with the joint batch. Processes may hold different
    numbers of rows.

    Args:
        embedding: (n, D), gradients flow back.
        others: (n, ...) tensors without gradient, e.g. labels.

    Raises:
        ConfigError: one of the tensors is None.
    """
    tensors = [other for other in others if other is not None]
    if len(tensors) < len(others):
        raise ConfigError('a metric loss needs `labels`, one row of 0 and 1 per image.')
    if world_size() == 1:
        return (embedding, *tensors)
    counts = _counts(embedding)
    gathered = _Gather.apply(embedding, counts)
    return (gathered, *(_all_rows(other, counts) for other in tensors))


def same_on_all(values: Tensor) -> Tensor:
    """The first process's ``values`` on every process, for random draws that must agree."""
    if world_size() > 1:
        dist.broadcast(values, 0)
    return values


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, counts):
        ctx.counts = counts
        return _all_rows(rows, counts)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.split(ctx.counts)[dist.get_rank()], None


def _counts(rows):
    own = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.zeros_like(own) for _ in range(world_size())]
    dist.all_gather(counts, own)
    return [int(count) for count in counts]


def _all_rows(rows, counts):
    # collectives need equal shapes: pad to the longest
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts)])
