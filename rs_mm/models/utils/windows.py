"""Self-attention inside the windows of a token map."""

import torch
import torch.nn.functional as F
from torch import Tensor


def window_attention(qkv: Tensor, heads: int, side: int, *, scale: float, pad_value=None,
                     shift: int = 0, bias: Tensor | None = None, dropout: float = 0.) -> Tensor:
    """Attention inside windows of ``side x side`` tokens.

    Takes the projected tokens, so that padding costs no projection: a token that is zero before
    the projection is the projection's bias after it.

    Args:
        qkv (Tensor): (N, H, W, 3 * heads * d), queries, keys and values in this order.
        heads (int): number of heads.
        side (int): side of a window; H and W are padded at the bottom and right to multiples.
        scale (float): factor of the queries.
        pad_value (Tensor, optional): ``qkv`` of a padded token; zeros if None.
        shift (int): the map is rolled up and left by this before and back after.
        bias (Tensor, optional): added to the scores, (1 or windows per image, heads, L, L) with
            L = side * side.
        dropout (float): dropout rate of the attention weights.

    Returns:
        Tensor: (N, H, W, heads * d).
    """
    batch, height, width, _ = qkv.shape
    pad_h, pad_w = -height % side, -width % side
    if pad_h or pad_w:
        qkv = _pad(qkv, pad_value, pad_h, pad_w)
    if shift:
        qkv = qkv.roll((-shift, -shift), (1, 2))
    rows, columns = qkv.shape[1] // side, qkv.shape[2] // side
    qkv = qkv.view(batch, rows, side, columns, side, 3, heads, -1).permute(5, 0, 1, 3, 6, 2, 4, 7)
    query, key, value = qkv.reshape(3, batch * rows * columns, heads, side * side, -1)
    if bias is not None:
        bias = bias.to(query.dtype)
        if len(bias) > 1:
            bias = bias.repeat(batch, 1, 1, 1)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale,
                                         dropout_p=dropout)
    out = out.view(batch, rows, columns, heads, side, side, -1).permute(0, 1, 4, 2, 5, 3, 6)
    out = out.reshape(batch, height + pad_h, width + pad_w, -1)
    if shift:
        out = out.roll((shift, shift), (1, 2))
    return out[:, :height, :width]


def _pad(x, value, pad_h, pad_w):
    batch, height, width, channels = x.shape
    value = x.new_zeros(channels) if value is None else value.to(x.dtype)
    right = value.expand(batch, height, pad_w, channels)
    bottom = value.expand(batch, pad_h, width + pad_w, channels)
    return torch.cat([torch.cat([x, right], 2), bottom], 1)
