"""Group normalisation and ReLU over tensors whose channels are the last axis."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupNormReLU(nn.GroupNorm):
    """``relu(group_norm(x))`` for (B, ..., C) with C contiguous.

    torch's kernel for this memory layout adds up float32 in one long row; with the 65536 positions
    of a correlation its error is 1e-4. This function adds in pairs, and its backward pass needs
    only the input.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalises.

        Args:
            x: (B, ..., C), floating point.

        Returns:
            The same shape and dtype.
        """
        flat = x.reshape(x.shape[0], -1, x.shape[-1])
        # torch.compile (2.11) traces the function's forward, but loses its gradient
        run = _forward if torch.compiler.is_compiling() else _GroupNormReLU.apply
        y = run(flat, self.weight, self.bias, self.num_groups, self.eps)
        return y.view(x.shape)


def _forward(x, weight, bias, groups, eps):
    mean, rstd = _statistics(x, groups, eps)
    scale = rstd * weight
    shift = bias - mean * scale
    return torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype)).relu()


class _GroupNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, groups, eps):
        # (B, 1, C) at least float32, at any precision of x
        mean, rstd = _statistics(x, groups, eps)
        scale = rstd * weight
        shift = bias - mean * scale
        y = torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype)).relu_()
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.groups = groups
        return y

    @staticmethod
    def backward(ctx, grad):
        x, weight, bias, mean, rstd = ctx.saved_tensors
        scale = rstd * weight
        shift = bias - mean * scale
        grad = grad * (torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype)) > 0)
        total = _sum(grad)
        # sum of the gradient times the normalised input, by channel
        aligned = rstd * (_sum(grad * x) - mean * total)
        by_group = x.shape[1] * x.shape[2] // ctx.groups
        slope = _spread((aligned * weight), ctx.groups) / by_group
        offset = _spread((total * weight), ctx.groups) / by_group
        grad_x = grad * scale.to(x.dtype)
        grad_x.addcmul_(x, (-rstd * rstd * slope).to(x.dtype))
        grad_x += (rstd * (mean * rstd * slope - offset)).to(x.dtype)
        return grad_x, aligned.sum((0, 1)), total.sum((0, 1)), None, None


def _sum(x):
    return x.sum(1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))


def _spread(x, groups):
    """Sums (B, 1, C) within each group of channels; every channel gets its group's sum."""
    by_group = x.unflatten(-1, (groups, -1)).sum(-1, keepdim=True)
    return by_group.expand(-1, -1, -1, x.shape[-1] // groups).flatten(-2)


def _statistics(x, groups, eps):
    count = x.shape[1] * x.shape[2] // groups
    mean = _spread(_sum(x), groups) / count
    variance = _spread(_sum(x.square()), groups) / count - mean.square()
    return mean, (variance.clamp(min=0) + eps).rsqrt()
