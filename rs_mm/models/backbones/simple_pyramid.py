"""Four scales from the single map of a plain vision transformer."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from rs_mm.registry import MODELS


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Scales a map by 4, 2, 1 and 1/2, and applies two convolutions to each of the four.

    Source: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection",
    ECCV 2022, sec. 3 and appendix A.

    Args:
        in_channels: channels of the map, a multiple of 4.
        channels: channels of every scale.
    """

    def __init__(self, in_channels: int, channels: int = 256, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        half, quarter = in_channels // 2, in_channels // 4
        enlarge = [
            nn.ConvTranspose2d(in_channels, half, 2, 2),
            LayerNorm2d(half),
            nn.GELU(),
            nn.ConvTranspose2d(half, quarter, 2, 2),
        ]
        resize = [
            (nn.Sequential(*enlarge), quarter),
            (nn.ConvTranspose2d(in_channels, half, 2, 2), half),
            (nn.Identity(), in_channels),
            (nn.MaxPool2d(2, ceil_mode=True), in_channels),
        ]
        self.scales = nn.ModuleList(
            nn.Sequential(
                layer,
                nn.Conv2d(width, channels, 1, bias=False),
                LayerNorm2d(channels),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                LayerNorm2d(channels),
            )
            for layer, width in resize
        )
        self.out_channels = (channels,) * 4

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, h, w) to four (N, channels, ...) of 4, 2, 1 and 1/2 times its size."""
        return tuple(scale(x) for scale in self.scales)


class LayerNorm2d(nn.LayerNorm):
    """Normalises the channels at each position of a map by their mean and variance."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
