"""The network that squeezes three correlations of decreasing resolution into the logits of a
mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .center_pivot import CenterPivotConv4d


class CorrelationLearner(nn.Module):
    """Hypercorrelation squeeze: three squeezing blocks, two mixing blocks, a 2-D decoder.

    Source: Min et al., "Hypercorrelation Squeeze for Few-Shot Segmentation", ICCV 2021, sec. 4.2.
    The original computes the decoder's inner size for both axes from the width and keeps the
    support positions of the first call. This class works with any size, and sizes may change.

    Args:
        in_channels: maps per stage, deepest first.
        channels: output channels of a squeezing block's three layers.
        out_channels: classes of the logits.
    """

    # (kernel, support stride) of the layers, deepest stage first; ceil(h_s / s) leaves one point
    # of the support grid for each 256 pixels at every stage
    _LAYERS = (((3, 2), (3, 2), (3, 2)), ((5, 4), (3, 2), (3, 2)), ((5, 4), (5, 4), (3, 2)))

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: Sequence[int] = (16, 64, 128),
        out_channels: int = 2,
    ) -> None:
        super().__init__()
        self.squeeze = nn.ModuleList(
            nn.Sequential(
                *[
                    CenterPivotConv4d(c_in, c_out, k, s)
                    for c_in, c_out, (k, s) in zip((first, *channels), channels, layers)
                ]
            )
            for first, layers in zip(in_channels, self._LAYERS)
        )
        width = channels[-1]
        self.mix = nn.ModuleList(
            nn.Sequential(*[CenterPivotConv4d(width, width, 3) for _ in range(3)]) for _ in range(2)
        )
        half = width // 2
        self.decoder = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, half, 3, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Conv2d(half, half, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(half, out_channels, 3, padding=1),
        )

    def forward(self, correlations: Sequence[Tensor]) -> Tensor:
        """Computes the logits.

        Args:
            correlations: (B, h_q, w_q, h_s, w_s, L) of each stage, deepest
                first.

        Returns:
            (B, out_channels, 2 h_q, 2 w_q) with the query grid of the shallowest stage.
        """
        x = self.squeeze[0](correlations[0])
        for squeeze, mix, correlation in zip(self.squeeze[1:], self.mix, correlations[1:]):
            finer = squeeze(correlation)
            x = mix(_resize_to(x, finer.shape[1:5]) + finer)
        x = x.mean(dim=(3, 4)).permute(0, 3, 1, 2)
        x = self.decoder(x)
        size = tuple(2 * side for side in x.shape[2:])
        return self.classifier(F.interpolate(x, size, mode='bilinear', align_corners=True))


def _resize_to(x, grid):
    """Enlarges the query axes, and also the support axes if an odd size gave another grid."""
    b, *old, c = x.shape
    hq, wq, hs, ws = grid
    if (hq, wq) != tuple(old[:2]):
        y = x.reshape(b, *old[:2], -1).permute(0, 3, 1, 2)
        y = F.interpolate(y, (hq, wq), mode='bilinear', align_corners=True)
        x = y.permute(0, 2, 3, 1).reshape(b, hq, wq, *old[2:], c)
    if (hs, ws) != tuple(old[2:]):
        y = x.reshape(b * hq * wq, *old[2:], c).permute(0, 3, 1, 2)
        y = F.interpolate(y, (hs, ws), mode='bilinear', align_corners=True)
        x = y.permute(0, 2, 3, 1).reshape(b, hq, wq, hs, ws, c)
    return x
