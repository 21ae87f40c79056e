"""Correlations between all positions of two images, for every feature map of a stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5
# above this share of occupied positions, leaving out the empty positions costs more than it saves
PRUNE_BELOW = 0.7


def resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resizes binary masks to a feature map's size, bilinear with aligned corners.

    Args:
        mask: (B, H, W), any dtype.
        size: (h, w).

    Returns:
        (B, h * w) float32 in [0, 1].
    """
    mask = F.interpolate(mask[:, None].float(), size, mode='bilinear', align_corners=True)
    return mask.flatten(1)


class StageFeatures:
    """The maps of one stage of a batch of images, as vectors ready to be correlated.

    A vector masked by m and normalised is ``f m / (|f| m + eps)``: the unit vector times the gain
    ``|f| m / (|f| m + eps)``. So the products of unit vectors can be used for every mask.

    Args:
        maps: L maps (B, C, h, w) of one size.

    Attributes:
        vectors: (B, L, h * w, C).
        norm: (B, L, h * w), their lengths.
        size: (h, w).
    """

    def __init__(self, maps: list[Tensor]) -> None:
        self.size = tuple(maps[0].shape[2:])
        self.vectors = torch.stack([m.flatten(2).transpose(1, 2) for m in maps], dim=1)
        # not in half precision, where a length plus EPS would be rounded to the length
        dtype = torch.promote_types(self.vectors.dtype, torch.float32)
        self.norm = torch.linalg.vector_norm(self.vectors, dim=-1, dtype=dtype)

    def gain(self, masks: Tensor) -> Tensor:
        """Returns the length of each normalised vector after its map has been masked.

        Args:
            masks: (B, M, h * w) in [0, 1], M masks for each image, see
                :func:`resize_mask`.

        Returns:
            (B, M, L, h * w) in [0, 1).
        """
        length = self.norm[:, None] * masks[:, :, None]
        return length / (length + EPS)


def cross_correlation(query: StageFeatures, support: StageFeatures, mask: Tensor) -> Tensor:
    """Returns clamped cosines between all positions of queries and masked supports.

    Args:
        query: of B images.
        support: of B * K images, the K shots of one query together.
        mask: (B, K, N_s) in [0, 1], see :func:`resize_mask`.

    Returns:
        (B * K, h_q, w_q, h_s, w_s, L) in [0, 1]; in memory L comes before h_s.
    """
    b, k, n = mask.shape
    index = _occupied(mask.flatten(0, 1))
    vectors, norm, mask = support.vectors, support.norm, mask.flatten(0, 1)
    if index is not None:
        vectors, norm, mask = _take(vectors, norm, index) + (mask.gather(1, index),)
    vectors = masked_vectors(vectors, norm, mask)
    return _correlate(query, vectors.unflatten(0, (b, k)), index, n, support.size)


def masked_vectors(vectors: Tensor, norm: Tensor, mask: Tensor) -> Tensor:
    """Returns the vectors (B, L, N, C) of maps that are masked and then normalised.

    Args:
        vectors: (B, L, N, C).
        norm: (B, L, N), their lengths.
        mask: (B, N) in [0, 1], see :func:`resize_mask`.
    """
    return vectors * (mask[:, None] / (norm * mask[:, None] + EPS))[..., None]


def correlation_with(query: StageFeatures, vectors: Tensor, size: tuple[int, int]) -> Tensor:
    """Does the same as :func:`cross_correlation` with masked vectors that are already computed.

    Args:
        query: of B images.
        vectors: (B, K, L, h_s * w_s, C), see :func:`masked_vectors`.
        size: (h_s, w_s).
    """
    return _correlate(query, vectors, None, vectors.shape[3], size)


def _correlate(query, vectors, index, n, size):
    b, k = vectors.shape[:2]
    # one matrix holds the positions of all shots, so the query's vectors are not repeated
    vectors = vectors.transpose(1, 2).flatten(2, 3)
    own = query.vectors / (query.norm + EPS)[..., None]
    cosines = torch.relu(own @ vectors.transpose(-1, -2))
    # (B, K, N_q, L, positions): whole rows are copied
    cosines = cosines.unflatten(-1, (k, -1)).permute(0, 3, 2, 1, 4)
    if index is None:
        full = cosines.contiguous()
    else:
        full = cosines.new_zeros(*cosines.shape[:-1], n)
        full.scatter_(-1, index.view(b, k, 1, 1, -1).expand(cosines.shape), cosines)
    return _with_axes(full, query.size, size)


def self_correlation(query: StageFeatures, masks: Tensor) -> Tensor:
    """Returns clamped cosines between all positions of masked images and themselves.

    Args:
        query: of B images.
        masks: (B, M, h * w) in [0, 1], M masks for each image, applied on both sides.

    Returns:
        (B * M, h, w, h, w, L) in [0, 1]; in memory L comes before the second h.
    """
    index = _occupied(masks.amax(1))
    vectors, norm, gain = query.vectors, query.norm, query.gain(masks)
    if index is not None:
        vectors, norm = _take(vectors, norm, index)
        gain = gain.gather(3, index[:, None, None].expand(-1, *gain.shape[1:3], -1))
    unit = vectors / norm.clamp(min=1e-30)[..., None]
    cosines = torch.relu(unit @ unit.transpose(-1, -2))
    # (B, M, rows, L, columns)
    weighted = _product(cosines.transpose(1, 2)[:, None], gain[:, :, None])
    weighted = weighted.mul_(gain.transpose(2, 3)[..., None])
    if index is not None:
        b, m, rows, maps, _ = weighted.shape
        n = query.norm.shape[-1]
        wide = weighted.new_zeros(b, m, rows, maps, n)
        wide.scatter_(-1, index.view(b, 1, 1, 1, -1).expand(weighted.shape), weighted)
        weighted = weighted.new_zeros(b, m, n, maps, n)
        first = torch.arange(b, device=index.device)[:, None, None]
        second = torch.arange(m, device=index.device)[:, None]
        weighted[first, second, index[:, None]] = wide
    return _with_axes(weighted, query.size, query.size)


def _occupied(mask):
    """Returns the positions that at least one mask keeps, as (B, P) indices, or None if leaving out
    the other positions costs more than it saves. This is always so on a GPU, because the host would
    wait for the count. A compiled or exported graph cannot depend on the count."""
    if mask.is_cuda or torch.compiler.is_compiling():
        return None
    count = max(1, int((mask > 0).sum(1).max()))
    if count > PRUNE_BELOW * mask.shape[1]:
        return None
    return (mask > 0).to(torch.uint8).topk(count, dim=1).indices


def _take(vectors, norm, index):
    maps = vectors.shape[1]
    norm = norm.gather(2, index[:, None].expand(-1, maps, -1))
    index = index[:, None, :, None].expand(-1, maps, -1, vectors.shape[-1])
    return vectors.gather(2, index), norm


def _product(a, b):
    """``a * b``, contiguous."""
    if torch.compiler.is_compiling() or (
        torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)
    ):
        return (a * b).contiguous()
    # otherwise torch keeps the memory order of `a`, and a copy would be needed
    return torch.mul(a, b, out=a.new_empty(torch.broadcast_shapes(a.shape, b.shape)))


def _with_axes(correlation, query_size, support_size):
    """(B, K, N_q, L, N_s) -> (B * K, h_q, w_q, h_s, w_s, L)."""
    correlation = correlation.flatten(0, 1)
    correlation = correlation.unflatten(3, support_size).unflatten(1, query_size)
    return correlation.permute(0, 1, 2, 4, 5, 3)
