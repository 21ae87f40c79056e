"""Multi-label classification by distance-weighted nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from rs_mm.errors import DataError

_ROWS = 256  # queries compared at a time: fast products, and a working set near the cache's size
_GROUP = 32  # columns that share one maximum while searching
_SPARE = 6  # candidates beyond k whose exact distance is computed too


def nearest(queries: Tensor, references: Tensor, k: int,
            max_similarities: int = 2**26) -> tuple[Tensor, Tensor]:
    """Finds the k references nearest to each query, exactly, without a Q x N matrix.

    Candidates are found in float32 on vectors centred at the references' mean; their distances are
    then computed again as float64 differences, so identical vectors are at distance 0.

    Args:
        queries (Tensor): (Q, D).
        references (Tensor): (N, D).
        k (int): number of neighbours, at most N.
        max_similarities (int): bounds the working memory: queries x references compared at a time.

    Returns:
        tuple[Tensor, Tensor]: distances (Q, k) float64, ascending, and indices (Q, k) int64.

    Raises:
        DataError: no reference, fewer than k, another dimension, or values that are not finite.
    """
    _check(queries, references, k)
    centre = references.float().mean(0)
    database = references.float() - centre
    bias = -0.5 * (database * database).sum(1)
    kept = min(k + _SPARE, len(references))
    rows = min(_ROWS, max(1, max_similarities // len(references)))
    work = database.new_empty(min(rows, max(1, len(queries))) * len(references))
    distances, indices = [], []
    for start in range(0, len(queries), rows):
        block = queries[start:start + rows]
        closeness = work[:len(block) * len(database)].view(len(block), len(database))
        torch.addmm(bias, block.float() - centre, database.t(), out=closeness)
        candidate = _largest(closeness, kept)
        difference = references[candidate].double() - block[:, None].double()
        exact, order = difference.square_().sum(2).sqrt_().sort(dim=1, stable=True)
        distances.append(exact[:, :k])
        indices.append(candidate.gather(1, order)[:, :k])
    if not distances:
        return queries.new_zeros((0, k), dtype=torch.float64), queries.new_zeros(
            (0, k), dtype=torch.long)
    return torch.cat(distances), torch.cat(indices)


def vote(distances: Tensor, neighbour_labels: Tensor) -> Tensor:
    """Decides each label by a majority weighted with 1 / distance.

    Where a neighbour is at distance 0, only those at distance 0 vote. A tie gives 0.

    Args:
        distances (Tensor): (Q, k).
        neighbour_labels (Tensor): (Q, k, L) of 0 and 1.

    Returns:
        Tensor: (Q, L) uint8.
    """
    distances = distances.double()
    zero = distances == 0
    weights = torch.where(zero.any(1, keepdim=True), zero.double(), 1 / distances)[..., None]
    present = neighbour_labels.double()
    return ((weights * present).sum(1) > (weights * (1 - present)).sum(1)).to(torch.uint8)


def knn_classify(queries: Tensor, references: Tensor, labels: Tensor, k: int = 10,
                 max_similarities: int = 2**26) -> Tensor:
    """Labels of each query by its k nearest references, Euclidean, weighted with 1 / distance.

    Predicts what scikit-learn's ``KNeighborsClassifier(k, weights='distance')`` predicts.

    Args:
        queries (Tensor): (Q, D).
        references (Tensor): (N, D).
        labels (Tensor): (N, L) of 0 and 1.
        k (int): number of neighbours, at most N.
        max_similarities (int): see :func:`nearest`.

    Returns:
        Tensor: (Q, L) uint8.
    """
    if len(labels) != len(references):
        raise DataError(f'{len(references)} reference embeddings, but labels for {len(labels)}.')
    distances, indices = nearest(queries, references, k, max_similarities)
    return vote(distances, labels[indices])


def _largest(values: Tensor, count: int) -> Tensor:
    """Indices of the ``count`` largest values of each row.

    The largest values lie in the groups of columns with the largest maxima, so only those are
    sorted.
    """
    rows, width = values.shape
    groups = width // _GROUP
    if groups < 2 * count:
        return values.topk(count, dim=1).indices
    whole = values[:, :groups * _GROUP].view(rows, _GROUP, groups)
    best = whole.amax(1).topk(count, dim=1).indices
    columns = torch.arange(_GROUP, device=values.device)[:, None] * groups + best[:, None, :]
    rest = torch.arange(groups * _GROUP, width, device=values.device).expand(rows, -1)
    columns = torch.cat([columns.flatten(1), rest], 1)
    return columns.gather(1, values.gather(1, columns).topk(count, dim=1).indices)


def _check(queries, references, k):
    if not len(references):
        raise DataError('there are no reference embeddings to search.')
    if not 1 <= k <= len(references):
        raise DataError(f'k is {k}, but there are {len(references)} reference embeddings; choose k '
                        'between 1 and that.')
    if queries.shape[1] != references.shape[1]:
        raise DataError(f'the queries have {queries.shape[1]} dimensions, the references '
                        f'{references.shape[1]}; both must come from one model.')
    for name, vectors in (('queries', queries), ('references', references)):
        if not vectors.isfinite().all():
            raise DataError(f'{int((~vectors.isfinite().all(1)).sum())} of the {name} hold NaN or '
                            'infinite values.')
