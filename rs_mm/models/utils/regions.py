"""Crops of fixed size from boxes of a feature map (RoIAlign), as two small matrix products."""

import math

import torch
from torch import Tensor


def sample_regions(features: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Averages ``features`` over the ``size x size`` bins of each box, as aligned RoIAlign does.

    RoIAlign with an automatic sampling ratio averages bilinear samples on a regular grid, and both
    the interpolation and the average separate into rows and columns. A crop is therefore
    ``rows @ map @ columns.T``, which is exact, costs far less than visiting each sample, and gives
    the boxes a gradient (``torchvision.ops.roi_align`` gives them none). Pass ``boxes.detach()`` to
    leave out this gradient.

    Args:
        features: (N, C, H, W).
        boxes: (N, R, 4), x1 y1 x2 y2 in units of the map; may leave the map, at most as
            large as the map.
        size: bins per side.

    Returns:
        (N, R, C, size, size).
    """
    height, width = features.shape[-2:]
    x1, y1, x2, y2 = boxes.unbind(-1)
    columns = _bin_weights(x1, x2, width, size).to(features.dtype)
    rows = _bin_weights(y1, y2, height, size).to(features.dtype)
    batch, regions = columns.shape[:2]
    # (N, C*H, W) @ (N, W, R*size), then per region (size, H) @ (H, C*size)
    across = features.flatten(1, 2) @ columns.flatten(1, 2).transpose(1, 2)
    across = across.view(batch, -1, height, regions, size).permute(0, 3, 2, 1, 4)
    crops = rows @ across.reshape(batch, regions, height, -1)
    return crops.view(batch, regions, size, -1, size).transpose(2, 3)


def _bin_weights(start: Tensor, stop: Tensor, length: int, bins: int) -> Tensor:
    """Returns the weight of every row (or column) of the map in every bin: (N, R, bins, length)."""
    # at least single precision; 'aligned': pixel centres at integers
    start, stop = (x.to(torch.promote_types(x.dtype, torch.float32)) - 0.5 for x in (start, stop))
    bin_width = (stop - start) / bins
    count = bin_width.detach().ceil().clamp(min=1)  # samples per bin
    steps = torch.arange(math.ceil(length / bins) + 1, device=start.device)
    offset = (steps + 0.5) / count[..., None]  # (N, R, samples), in bins; beyond 1 unused
    used = (steps < count[..., None])[..., None, :]
    bin_index = torch.arange(bins, device=start.device)
    position = (bin_index[:, None] + offset[..., None, :]) * bin_width[..., None, None]
    position = start[..., None, None] + position  # (N, R, bins, samples)
    # a sample more than one pixel outside is zero, a nearer sample equals the border pixel
    inside = used & (position >= -1) & (position <= length)
    position = position.clamp(0, length - 1)
    pixel = torch.arange(length, device=start.device)
    hat = (1 - (position[..., None] - pixel).abs()).clamp(min=0)
    return (hat * inside[..., None]).sum(-2) / count[..., None, None]
