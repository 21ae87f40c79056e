"""Two dates through one network: as one batch where that changes no number."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def uses_batch_statistics(module: nn.Module) -> bool:
    """Whether a batch norm inside ``module`` would normalise with the statistics of its batch."""
    return any(
        isinstance(part, _BatchNorm) and (part.training or part.running_mean is None)
        for part in module.modules()
    )


def both_dates(module, first, second, join: bool = False):
    """Applies ``module`` to each date.

    The dates go through as one batch of 2N unless batch norms inside ``module`` take their
    statistics from the batch: then each date has its own statistics and running statistics move
    twice, as in the published DSQNet. Drop path and dropout draw per sample either way.

    Args:
        module (nn.Module): maps a tensor, or a tuple of tensors, to a tensor or tuple of tensors.
        first, second (Tensor | Sequence[Tensor]): date 1 and date 2, batch N first.
        join (bool): one batch in every case; batch norms then see both dates together.

    Returns:
        tuple: the results for date 1 and for date 2.
    """
    if not join and uses_batch_statistics(module):
        return module(first), module(second)
    if isinstance(first, torch.Tensor):
        result = module(torch.cat([first, second]))
    else:
        result = module([torch.cat(pair) for pair in zip(first, second)])
    if isinstance(result, torch.Tensor):
        return result.chunk(2)
    return tuple(zip(*(part.chunk(2) for part in result)))
