"""Self-attention inside the windows of a token map."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def window_attention(qkv: Tensor, heads: int, side: int, *, scale: float, pad_value=None,
                     shift: int = 0, bias: Tensor | None = None, dropout: float = 0.) -> Tensor:
    """Attention inside windows of ``side x side`` tokens.

    Takes the projected tokens, so that padding costs no projection: a token that is zero before
    the projection is the projection's bias after it. Padding, shift and partition are one gather.

    Args:
        qkv (Tensor): (N, H, W, 3 * heads * d), queries, keys and values in this order.
        heads (int): number of heads.
        side (int): side of a window; H and W are padded at the bottom and right to multiples.
        scale (float): factor of the queries.
        pad_value (Tensor, optional): ``qkv`` of a padded token; zeros if None.
        shift (int): the windows are shifted down and right by this, around the map.
        bias (Tensor, optional): added to the scores, (1 or windows per image, heads, L, L) with
            L = side * side.
        dropout (float): dropout rate of the attention weights.

    Returns:
        Tensor: (N, H, W, heads * d).
    """
    batch, height, width, channels = qkv.shape
    plan = _plan(batch, height, width, side, shift, qkv.device)
    tokens = qkv.reshape(-1, channels).index_select(0, plan.gather)
    if len(plan.pads):
        value = tokens.new_zeros(channels) if pad_value is None else pad_value.to(tokens.dtype)
        tokens.index_copy_(0, plan.pads, value.expand(len(plan.pads), -1))
    query, key, value = tokens.view(-1, side**2, 3, heads, channels // 3 // heads).permute(
        2, 0, 3, 1, 4)
    out = _attend(query, key, value, bias, scale, dropout)
    out = out.transpose(1, 2).reshape(-1, channels // 3)
    return out.index_select(0, plan.scatter).view(batch, height, width, -1)


def _attend(query, key, value, bias, scale, dropout):
    if bias is not None:
        bias = bias.to(query.dtype)
    if bias is None or query.device.type != 'cpu':
        if bias is not None and len(bias) > 1:
            bias = bias.repeat(len(query) // len(bias), 1, 1, 1)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale,
                                              dropout_p=dropout)
    # with a bias, the fused attention of CPUs is slower than this, and has no gradient for it
    query, key, value = (x.unflatten(0, (-1, len(bias))) for x in (query, key, value))
    scores = (query @ key.mT).mul_(scale).add_(bias)  # no gradient needs the old values
    return (F.dropout(scores.softmax(-1), dropout) @ value).flatten(0, 1)


class _Plan:
    """Where the tokens of a batch of maps go.

    Attributes:
        gather (Tensor): token of every place in every window; any token at a padded place.
        pads (Tensor): the padded places.
        scatter (Tensor): place of every token.
    """

    def __init__(self, batch, height, width, side, shift, device):
        token = torch.arange(height * width, device=device).view(height, width)
        token = F.pad(token, (0, -width % side, 0, -height % side), value=-1)
        token = token.roll((-shift, -shift), (0, 1))
        token = token.unflatten(1, (-1, side)).unflatten(0, (-1, side)).transpose(1, 2).flatten()
        image = torch.arange(batch, device=device)[:, None]
        self.gather = (token.clamp(min=0) + image * height * width).flatten()
        pads, = torch.nonzero(token < 0, as_tuple=True)
        self.pads = (pads + image * len(token)).flatten()
        places, = torch.nonzero(token >= 0, as_tuple=True)
        scatter = torch.empty_like(places)
        scatter[token[places]] = places
        self.scatter = (scatter + image * len(token)).flatten()


@torch.compiler.disable  # built once per size, from shapes that depend on data
@lru_cache(maxsize=64)
def _plan(batch, height, width, side, shift, device):
    with torch.inference_mode(False):  # the same plan may serve a training step later
        return _Plan(batch, height, width, side, shift, device)


@torch.compiler.disable  # built once per size, from shapes that depend on data
@lru_cache(maxsize=64)
def shift_mask(height: int, width: int, side: int, shift: int, device) -> Tensor:
    """-100 between tokens of a shifted window that are no neighbours: (windows, 1, L, L)."""
    with torch.inference_mode(False):
        zones = []
        for length in (height, width):
            zone = torch.zeros(length + -length % side, device=device)
            zone[-side:-shift], zone[-shift:] = 1, 2
            zones.append(zone.view(-1, side))
        zone = 3 * zones[0][:, None, :, None] + zones[1][None, :, None, :]
        zone = zone.flatten(2).flatten(0, 1)
        return (zone[:, None, :, None] != zone[:, None, None, :]) * -100.
