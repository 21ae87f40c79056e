"""Correlations between all positions of two images, for every feature map of a stage."""

from __future__ import annotations

import torch
import torch.nn.functional as F

EPS = 1e-5


def resize_mask(mask, size):
    """Resizes binary masks to a feature map's size, bilinear with aligned corners.

    Args:
        mask (Tensor): (B, H, W), any dtype.
        size (tuple[int, int]): (h, w).

    Returns:
        Tensor: (B, h * w) float32 in [0, 1].
    """
    mask = F.interpolate(mask[:, None].float(), size, mode='bilinear', align_corners=True)
    return mask.flatten(1)


class StageFeatures:
    """The maps of one stage of a batch of images, as vectors ready to be correlated.

    A vector masked by m and normalised is ``f m / (|f| m + eps)``, that is the plain unit vector
    times the gain ``|f| m / (|f| m + eps)``: the products of unit vectors serve every mask.

    Args:
        maps (list[Tensor]): L maps (B, C, h, w) of one size.

    Attributes:
        unit (Tensor): (B, L, h * w, C), each position's vector divided by its length.
        norm (Tensor): (B, L, h * w), the lengths.
        size (tuple[int, int]): (h, w).
    """

    def __init__(self, maps):
        self.size = tuple(maps[0].shape[2:])
        vectors = torch.stack([m.flatten(2).transpose(1, 2) for m in maps], dim=1)
        self.norm = torch.linalg.vector_norm(vectors, dim=-1)
        self.unit = vectors / self.norm.clamp(min=1e-30)[..., None]

    def gain(self, mask=None):
        """What each normalised vector's length is once its map has been masked.

        Args:
            mask (Tensor | None): (B, M, h * w) in [0, 1], M masks for each image, see
                :func:`resize_mask`; None for no mask.

        Returns:
            Tensor: (B, M, L, h * w) in [0, 1), M = 1 without a mask.
        """
        length = self.norm[:, None]
        if mask is not None:
            length = length * mask[:, :, None]
        return length / (length + EPS)


def correlate(query, support, shots=1):
    """Clamped cosines between all positions of two images, before masks.

    Args:
        query (StageFeatures): of B images.
        support (StageFeatures): of B * shots images, the shots of one query together; the same
            object for a self-correlation.
        shots (int): K.

    Returns:
        Tensor: (B, K, L, N_q, N_s) in [0, 1], with N = h * w.
    """
    unit = support.unit.unflatten(0, (-1, shots))
    b, _, maps, n, c = unit.shape
    # the positions of all shots in one matrix, so that the query's vectors are not repeated
    unit = unit.transpose(1, 2).reshape(b, maps, shots * n, c)
    cosines = torch.relu(query.unit @ unit.transpose(-1, -2))
    return cosines.unflatten(-1, (shots, n)).permute(0, 3, 1, 2, 4)


def weigh(cosines, query_gain, support_gain, query_size, support_size):
    """Applies the gains of masked vectors and gives the correlation its axes.

    Args:
        cosines (Tensor): (B, K, L, N_q, N_s), or with 1 in place of K.
        query_gain (Tensor): (B, K, L, N_q), or with 1 in place of K.
        support_gain (Tensor): (B, K, L, N_s).
        query_size, support_size (tuple[int, int]): (h, w) with h * w = N.

    Returns:
        Tensor: (B * K, h_q, w_q, h_s, w_s, L), contiguous: channels last.
    """
    weighted = cosines * query_gain[..., None] * support_gain[..., None, :]
    weighted = weighted.permute(0, 1, 3, 4, 2).contiguous()
    return weighted.view(-1, *query_size, *support_size, weighted.shape[-1])
