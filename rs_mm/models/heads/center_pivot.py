"""Convolution over four axes as the sum of two convolutions over two axes each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .channels_last_norm import GroupNormReLU

# query positions convolved at once: the backward pass pads their few channels to many
_ROWS = 2048


class CenterPivotConv4d(nn.Module):
    """Center-pivot 4-D convolution, group normalisation and ReLU.

    ``conv_query`` runs over the query axes with stride 1, at the support positions 0, s, 2s, ...;
    ``conv_support`` runs over the support axes with stride s, at every query position. The two
    are added. Tensors are (B, h_q, w_q, h_s, w_s, C): the support axes and the channels are then
    the axes of a channels-last image. If the support grid is a single point, the query axes are
    too, and the two convolutions become one.

    Source: Min et al., "Hypercorrelation Squeeze for Few-Shot Segmentation", ICCV 2021, eq. 5-6.

    Args:
        in_channels: C of the input.
        out_channels: C of the output, a multiple of ``groups``.
        kernel_size: odd, on all axes; the padding is half of it.
        support_stride: s.
        groups: groups of the normalisation, over the channels and all four axes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        support_stride: int = 1,
        groups: int = 4,
    ) -> None:
        super().__init__()
        pad = kernel_size // 2
        self.stride = support_stride
        self.conv_query = nn.Conv2d(in_channels, out_channels, kernel_size, padding=pad)
        self.conv_support = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=support_stride, padding=pad
        )
        self.norm = GroupNormReLU(groups, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layer.

        Args:
            x: (B, h_q, w_q, h_s, w_s, C_in), contiguous, or with C_in before h_s in
                memory.

        Returns:
            (B, h_q, w_q, ceil(h_s / s), ceil(w_s / s), C_out), contiguous.
        """
        if x.shape[3:5] == (1, 1):
            y = self._single_point(x)
        else:
            y = self._over_support(x) + self._over_query(x)
        return self.norm(y)

    def _single_point(self, x):
        # only the centre of the support kernel meets data; it is added to the centre of the query
        # kernel
        pad = self.conv_query.padding[0]
        centre = self.conv_support.weight[:, :, pad : pad + 1, pad : pad + 1]
        weight = self.conv_query.weight + F.pad(centre, (pad,) * 4)
        bias = self.conv_query.bias + self.conv_support.bias
        y = F.conv2d(x[:, :, :, 0, 0].permute(0, 3, 1, 2), weight, bias, padding=pad)
        return y.permute(0, 2, 3, 1)[:, :, :, None, None]

    def _over_query(self, x):
        x = x[:, :, :, :: self.stride, :: self.stride]
        b, hq, wq, hs, ws, c = x.shape
        x = x.permute(0, 3, 4, 1, 2, 5).reshape(b * hs * ws, hq, wq, c)
        y = self.conv_query(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return y.reshape(b, hs, ws, hq, wq, -1).permute(0, 3, 4, 1, 2, 5)

    def _over_support(self, x):
        b, hq, wq, hs, ws, c = x.shape
        pad, stride = self.conv_support.padding[0], self.stride
        if max(hs, ws) <= stride:
            # one output position: the part of the kernel that meets data is a matrix
            rows, columns = min(hs, pad + 1), min(ws, pad + 1)
            weight = self.conv_support.weight[:, :, pad : pad + rows, pad : pad + columns]
            weight = weight.permute(0, 2, 3, 1).flatten(1)
            seen = x[:, :, :, :rows, :columns].reshape(b, hq, wq, -1)
            return F.linear(seen, weight, self.conv_support.bias)[:, :, :, None, None]
        x = x.flatten(0, 2).permute(0, 3, 1, 2)
        # a graph has no backward pass, and cannot count the parts of a batch of unknown size
        parts = [x] if torch.compiler.is_exporting() else x.split(_ROWS)
        y = torch.cat([self.conv_support(part) for part in parts]).permute(0, 2, 3, 1)
        return y.reshape(b, hq, wq, *y.shape[1:])
