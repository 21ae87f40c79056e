"""Self-attention inside the windows of a token map."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def window_attention(
    qkv: Tensor,
    heads: int,
    side: int,
    *,
    scale: float,
    pad_value: Tensor | None = None,
    shift: int = 0,
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention inside windows of ``side x side`` tokens.

    The function takes projected tokens, so padded tokens need no projection: a token that is zero
    before the projection equals the projection's bias after it. Padding, shift and partition are
    one gather.

    Args:
        qkv: (N, H, W, 3 * heads * d), queries, keys and values in this order.
        heads: number of heads.
        side: side of a window; H and W are padded at the bottom and right to multiples.
        scale: factor of the queries.
        pad_value: ``qkv`` of a padded token; zeros if None.
        shift: the windows are shifted down and right by this, around the map.
        bias: added to the scores, (1 or windows per image, heads, L, L) with
            L = side * side.
        dropout: dropout rate of the attention weights.

    Returns:
        (N, H, W, heads * d).
    """
    if torch.compiler.is_compiling():
        windows = _partition(qkv, side, shift, pad_value)
    else:
        plan = _plan(*qkv.shape[:3], side, shift, qkv.device)
        windows = _ToWindows.apply(qkv, pad_value, plan)
    query, key, value = windows.view(-1, side**2, 3, heads, qkv.shape[-1] // 3 // heads).permute(
        2, 0, 3, 1, 4
    )
    out = _attend(query, key, value, bias, scale, dropout).transpose(1, 2).flatten(2)
    if torch.compiler.is_compiling():
        return _join(out, qkv.shape[:3], side, shift)
    return _FromWindows.apply(out, plan).view(*qkv.shape[:3], -1)


class _ToWindows(torch.autograd.Function):
    """Padding, shift and partition in one copy, and its gradient in another.

    Every token has one place, so the gradient is a gather too; autograd would add up rows.
    """

    @staticmethod
    def forward(ctx, qkv, pad_value, plan):
        ctx.plan, ctx.shape = plan, qkv.shape
        rows = qkv.reshape(-1, qkv.shape[-1]).index_select(0, plan.gather)
        if len(plan.pads):
            value = rows.new_zeros(1) if pad_value is None else pad_value.to(rows.dtype)
            rows.index_copy_(0, plan.pads, value.expand(len(plan.pads), rows.shape[1]))
        return rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        plan, grad_value = ctx.plan, None
        if ctx.needs_input_grad[1]:
            grad_value = grad.index_select(0, plan.pads).sum(0, dtype=torch.float32)
        return grad.index_select(0, plan.scatter).view(ctx.shape), grad_value, None


class _FromWindows(torch.autograd.Function):
    """The inverse of ``_ToWindows``: (windows, L, C) -> (tokens, C)."""

    @staticmethod
    def forward(ctx, windows, plan):
        ctx.plan, ctx.shape = plan, windows.shape
        return windows.reshape(-1, windows.shape[-1]).index_select(0, plan.scatter)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        rows = grad.index_select(0, ctx.plan.gather)
        if len(ctx.plan.pads):
            rows.index_fill_(0, ctx.plan.pads, 0)
        return rows.view(ctx.shape), None


def _partition(qkv, side, shift, pad_value):
    """Does the same as ``_ToWindows``, in steps that torch.compile fuses."""
    height, width = qkv.shape[1:3]
    below, right = -height % side, -width % side
    if pad_value is None:
        qkv = F.pad(qkv, (0, 0, 0, right, 0, below))
    else:
        value = pad_value.to(qkv.dtype)
        qkv = F.pad(qkv - value, (0, 0, 0, right, 0, below)) + value
    qkv = qkv.roll((-shift, -shift), (1, 2))
    qkv = qkv.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
    return qkv.reshape(-1, qkv.shape[-1])


def _join(windows, shape, side, shift):
    batch, height, width = shape
    rows, columns = -(-height // side), -(-width // side)
    x = windows.view(batch, rows, columns, side, side, -1).transpose(2, 3)
    x = x.reshape(batch, rows * side, columns * side, -1).roll((shift, shift), (1, 2))
    return x[:, :height, :width]


def _attend(query, key, value, bias, scale, dropout):
    if bias is not None:
        bias = bias.to(query.dtype)
    if bias is None or query.device.type != 'cpu':
        if bias is not None and len(bias) > 1:
            bias = bias.repeat(len(query) // len(bias), 1, 1, 1)
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, scale=scale, dropout_p=dropout
        )
    # with a bias, the fused attention of CPUs is slower than this and has no gradient for the bias
    query, key, value = (x.unflatten(0, (-1, len(bias))) for x in (query, key, value))
    scores = (query @ key.mT).mul_(scale).add_(bias)  # in place: there is no gradient
    return (F.dropout(scores.softmax(-1), dropout) @ value).flatten(0, 1)


class _Plan:
    """The places of the tokens of a batch of maps in their windows.

    Attributes:
        gather: token of every place in every window; any token at a padded place.
        pads: the padded places.
        scatter: place of every token.
    """

    def __init__(self, batch, height, width, side, shift, device):
        token = torch.arange(height * width, device=device).view(height, width)
        token = F.pad(token, (0, -width % side, 0, -height % side), value=-1)
        token = token.roll((-shift, -shift), (0, 1))
        token = token.unflatten(1, (-1, side)).unflatten(0, (-1, side)).transpose(1, 2).flatten()
        image = torch.arange(batch, device=device)[:, None]
        self.gather = (token.clamp(min=0) + image * height * width).flatten()
        (pads,) = torch.nonzero(token < 0, as_tuple=True)
        self.pads = (pads + image * len(token)).flatten()
        (places,) = torch.nonzero(token >= 0, as_tuple=True)
        scatter = torch.empty_like(places)
        scatter[token[places]] = places
        self.scatter = (scatter + image * len(token)).flatten()


@lru_cache(maxsize=64)
def _plan(batch, height, width, side, shift, device):
    with torch.inference_mode(False):  # a later training step may use the same plan
        return _Plan(batch, height, width, side, shift, device)


def shift_mask(
    height: int, width: int, side: int, shift: int, device: torch.device | str
) -> Tensor:
    """Returns -100 between tokens of a shifted window that are not neighbours: (windows, 1, L,
    L)."""
    if torch.compiler.is_compiling():
        return _shift_mask(height, width, side, shift, device)
    return _kept_shift_mask(height, width, side, shift, device)


@lru_cache(maxsize=64)
def _kept_shift_mask(*args):
    with torch.inference_mode(False):
        return _shift_mask(*args)


def _shift_mask(height, width, side, shift, device):
    zones = []
    for length in (height, width):
        zone = torch.zeros(length + -length % side, device=device)
        zone[-side:-shift], zone[-shift:] = 1, 2
        zones.append(zone.view(-1, side))
    zone = 3 * zones[0][:, None, :, None] + zones[1][None, :, None, :]
    zone = zone.flatten(2).flatten(0, 1)
    return (zone[:, None, :, None] != zone[:, None, None, :]) * -100.0
