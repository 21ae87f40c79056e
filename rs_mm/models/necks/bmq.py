"""BMQ, the bidirectional matching query of DSQNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, constant_init
from torch import Tensor, nn

from rs_mm.registry import MODELS

from ..utils.regions import sample_regions
from ..utils.siamese import both_dates


@MODELS.register_module()
class BMQ(BaseModule):
    """A neck that looks up the regions of each date in the other date and adds the result.

    Region codes (:class:`KeyGeneration`) give the regions, which are the same in both dates. Every
    region is sampled once per date, a small network picks ``points x points`` places in it, and the
    contents of the two dates are mixed across regions by their relevance to each other.

    Args:
        channels: width of the queries; the maps have half as many channels.
        norm_cfg: norm of the conv blocks.
        num_regions: number of regions.
        region_size: bins per side of a sampled region.
        points: number of places per side of a region that are looked up.
        query_pools: see :class:`KeyGeneration`.
        correct_layout: False, as published: the looked-up (region, channel) memory is read as
            (channel, region) without a transposition, which mixes channels and regions. True: the
            memory is transposed.
        train_regions: False, as published: the regions get no gradient (RoIAlign passes
            none to its boxes), so their convolutions keep their initial weights; they are frozen,
            and their batch norms follow the data. True: the regions are sampled differentiably and
            learn.
    """

    content_size = 8  # side to which the looked-up places are enlarged

    def __init__(
        self,
        channels: int,
        norm_cfg: dict,
        num_regions: int = 32,
        region_size: int = 7,
        points: int = 4,
        query_pools: Sequence[int] = (4, 8),
        correct_layout: bool = False,
        train_regions: bool = False,
    ) -> None:
        super().__init__()
        self.num_regions, self.region_size, self.points = num_regions, region_size, points
        self.correct_layout, self.train_regions = correct_layout, train_regions
        self.query_conv = ConvModule(channels, channels, 1, norm_cfg=norm_cfg)
        self.key_generation = KeyGeneration(channels, num_regions, query_pools, norm_cfg)
        if not train_regions:
            self.query_conv.requires_grad_(False)
            self.key_generation.requires_grad_(False)
        reduced = channels // 8
        self.point_conv = nn.Sequential(nn.Conv2d(channels // 2, reduced, 1), nn.ReLU())
        self.point_mlp = nn.Sequential(
            nn.Linear(reduced * region_size**2, 64),
            nn.ReLU(),
            nn.Linear(64, 128),
            nn.ReLU(),
            nn.Linear(128, 2 * points**2),
        )

    def init_weights(self) -> None:
        super().init_weights()
        # all points start at the centre of their region
        constant_init(self.point_mlp[-1], val=0)

    def forward(
        self, maps: tuple[Tensor, Tensor], semantics: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Maps (N, C/2, H, W) and semantic maps (N, C, h, w) of both dates to new maps."""
        boxes = self.boxes(self.codes(*semantics), maps[0].shape[-2:])
        first, second = self.mix(*(self.look_up(other, boxes) for other in reversed(maps)))
        return _add_resized(maps[0], first), _add_resized(maps[1], second)

    def codes(self, first: Tensor, second: Tensor) -> Tensor:
        """Returns region codes (N, regions, 4) before the sigmoid."""
        with torch.set_grad_enabled(self.train_regions and torch.is_grad_enabled()):
            return self.key_generation(*both_dates(self.query_conv, first, second))

    @staticmethod
    def boxes(codes: Tensor, size: Sequence[int]) -> Tensor:
        """Returns x1 y1 x2 y2 in units of a map of ``size`` = (H, W); boxes may reach beyond the
        map."""
        codes = codes.to(torch.promote_types(codes.dtype, torch.float32))
        x, y, width, height = codes.sigmoid().unbind(-1)
        corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        return torch.stack(corners, -1) * codes.new_tensor([size[1], size[0]] * 2)

    def look_up(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Returns the contents at the points of each region: (N, C/2, regions, content_size **
        2)."""
        crops = sample_regions(features, boxes, self.region_size)
        batch, regions, channels = crops.shape[:3]
        crops = crops.flatten(0, 1)
        content = F.grid_sample(crops, self.point_grid(crops), align_corners=False)
        if self.correct_layout:
            content = content.unflatten(0, (batch, regions)).transpose(1, 2)
        content = content.reshape(batch, channels * regions, self.points, self.points)
        content = F.interpolate(
            content, size=(self.content_size,) * 2, mode='bilinear', align_corners=False
        )
        return content.view(batch, channels, regions, -1)

    def point_grid(self, crops: Tensor) -> Tensor:
        """Returns the places (x, y) in [-1, 1] in each crop: (N * regions, points, points, 2)."""
        places = self.point_mlp(self.point_conv(crops).flatten(1)).tanh()
        return places.view(-1, self.points, self.points, 2)

    @staticmethod
    def relevance(first: Tensor, second: Tensor) -> Tensor:
        """Returns products of the means of contents: (N, C/2, regions of first, regions of
        second)."""
        return first.mean(-1)[..., :, None] * second.mean(-1)[..., None, :]

    def mix(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes the contents of each date across regions, weighted by the relevance to the other
        date."""
        relevance = self.relevance(first, second)
        return (relevance.transpose(-1, -2).softmax(-1) @ first, relevance.softmax(-1) @ second)


def _add_resized(x, content):
    return x + F.interpolate(content, size=x.shape[-2:], mode='bilinear', align_corners=False)


class KeyGeneration(nn.Module):
    """Makes region codes from the difference between the queries of both dates.

    Args:
        channels: width of the queries.
        num_regions: number of regions.
        query_pools: sizes of average pools. The first pool that turns the map into exactly 2 x 2
            cells is used (remaining rows and columns are dropped); if none does, an adaptive pool
            is used. The published generator has one pool, 4 for images of 256 pixels or 8 for 512,
            and cannot run at other sizes.
        norm_cfg: norm of the conv blocks.
    """

    def __init__(
        self, channels: int, num_regions: int, query_pools: Sequence[int], norm_cfg: dict
    ) -> None:
        super().__init__()
        self.query_pools = query_pools
        self.reduce = ConvModule(channels, num_regions, 1, norm_cfg=norm_cfg)
        # ends in a ReLU as published: codes are >= 0, their sigmoid lies in [0.5, 1)
        self.fuse = ConvModule(2 * num_regions, num_regions, 1, norm_cfg=norm_cfg)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Queries (N, C, h, w) of both dates to codes (N, regions, 4): cx, cy, w, h."""
        # the same mean difference is added to both dates
        difference = (first - second).mean(1, keepdim=True)
        keys = both_dates(self.reduce, first + difference, second + difference)
        return self.fuse(self._pool(torch.cat(keys, 1))).flatten(2)

    def _pool(self, x):
        for pool in self.query_pools:
            if all(length // pool == 2 for length in x.shape[-2:]):
                return F.avg_pool2d(x, pool)
        return F.adaptive_avg_pool2d(x, 2)
