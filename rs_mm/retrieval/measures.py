"""Retrieval measures of ranked matches, per query, for a whole chunk at once."""

from __future__ import annotations

import torch
from torch import Tensor


def average_precisions(hits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Computes both definitions of the average precision of ranked matches.

    With the j-th match (from 0) at the 0-based rank r, the trapezoid AP (the area under the
    precision-recall polygon, Philbin et al. 2007) averages ``(j / r + (j + 1) / (r + 1)) / 2``,
    where j / r is 1 for r = 0, and the plain AP averages ``(j + 1) / (r + 1)``.

    Args:
        hits: (Q, N) uint8 or bool, in ranked order.

    Returns:
        trapezoid AP, plain AP and the number of matches, (Q,) float64 each; the APs are NaN without
        a match.
    """
    # sum over matches of w_r * c_r with c the number of matches up to r: a matrix-vector product
    hits = hits.float()
    found = hits.cumsum(1)
    count = found[:, -1].double()
    found *= hits
    place = torch.arange(hits.shape[1], device=hits.device, dtype=torch.float64)
    after = 1 / (place + 1)
    before = 1 / place.clamp(min=1)
    before[0] = 0
    plain = found @ after.float()
    trapezoid = (plain + found @ before.float() - hits @ before.float() + hits[:, 0]) / 2
    return trapezoid.double() / count, plain.double() / count, count


def precision_at(hits: Tensor, count: Tensor, k: int = 10) -> Tensor:
    """Computes the share of matches among the first ``min(k, rank of the last match)`` places.

    Args:
        hits: (Q, >= k) in ranked order.
        count: (Q,) number of matches in the whole ranking.
    """
    first = hits[:, :k].double()
    found = first.sum(1)
    places = torch.arange(1, first.shape[1] + 1, device=hits.device)
    last = (first * places).amax(1)
    return found / torch.where(found == count, last, float(first.shape[1]))


def shared_label_measures(shared: Tensor, at: list[int]) -> dict[str, Tensor]:
    """Computes ACG, nDCG and wAP from the number of shared labels at each rank (Zhao et al.

    2015). nDCG compares with the best order of the same images, not with the best images of the
    database. The small constants are the published ones.

    Args:
        shared: (Q, >= max(at)) in ranked order.
        at: cut-off ranks.

    Returns:
        ``ACG@k``, ``nDCG@k`` and ``wAP@k`` for each k: (Q,) float64.
    """
    shared = shared[:, : max(at)].double()
    places = torch.arange(1, shared.shape[1] + 1, device=shared.device, dtype=torch.float64)
    discount = 1 / (places + 1).log2()
    gain = (2**shared - 1) * discount
    mean_so_far = shared.cumsum(1) / places
    relevant = (shared > 0).double()
    result = {}
    for k in at:
        ideal = (2 ** shared[:, :k].sort(dim=1, descending=True).values - 1) * discount[:k]
        result[f'ACG@{k}'] = shared[:, :k].sum(1) / k
        result[f'nDCG@{k}'] = gain[:, :k].sum(1) / (ideal.sum(1) + 1e-6)
        result[f'wAP@{k}'] = (mean_so_far * relevant)[:, :k].sum(1) / (
            relevant[:, :k].sum(1) + 1e-6
        )
    return result
