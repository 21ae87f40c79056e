"""Distributed data parallel that also runs on CPUs, with synchronised batch norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from rs_mm import compat
from rs_mm.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class DistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper, which also works on CPUs: without device ids, which torch refuses for
    CPUs, and with a :class:`GlooSyncBatchNorm` instead of each ``nn.SyncBatchNorm``, which needs a
    GPU.
    """

    def __init__(
        self, module: nn.Module, device_ids: Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        if not torch.cuda.is_available():
            device_ids = None
            module = for_gloo(module)
        super().__init__(module, device_ids=device_ids, **kwargs)


class GlooSyncBatchNorm(_BatchNorm):
    """Batch norm over the batches of all processes, in plain differentiable collectives.

    The result equals batch norm in one process with the joint batch; processes may hold different
    numbers of samples. In evaluation, and in a single process, it is plain batch norm.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) -> the same shape."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return nn.functional.batch_norm(
                input,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.training,
                self.momentum,  # type: ignore[arg-type]
                self.eps,
            )
        axes = [axis for axis in range(input.dim()) if axis != 1]
        count = input.new_full((1,), input.numel() / input.shape[1])
        total = all_reduce(torch.cat([input.sum(axes), count]))
        mean = total[:-1] / total[-1]
        centred = input - mean.view(1, -1, *[1] * (input.dim() - 2))
        # a second collective, but without the cancellation of mean(x^2) - mean(x)^2
        variance = all_reduce(centred.square().sum(axes)) / total[-1]
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach(), total[-1].detach())
        shape = (1, -1, *[1] * (input.dim() - 2))
        out = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out

    def _check_input_dim(self, input):
        pass

    def _track(self, mean, variance, count):
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / (count - 1), share)


def for_gloo(module: nn.Module) -> nn.Module:
    """Replaces each ``nn.SyncBatchNorm`` (mmcv's ``SyncBN`` is a subclass), keeping parameters."""
    for name, child in module.named_children():
        if isinstance(child, nn.SyncBatchNorm):
            compat.synchronise_on_cpu(child)
        else:
            setattr(module, name, for_gloo(child))
    return module
