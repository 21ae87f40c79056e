"""Exact nearest neighbours in blocks, with bounded memory."""

from __future__ import annotations

import time
from functools import lru_cache

import torch
from torch import Tensor

from rs_mm.errors import DataError

_ROWS = 512  # queries compared at a time, enough for fast products
_WIDTH = dict(cpu=2048)  # references per product, whose result stays in cache while it is reduced
_WIDE = 65536  # the same where caches matter less than the number of launches
_SPARE = 2  # candidates beyond k whose distance is computed in float64


def nearest(
    queries: Tensor,
    references: Tensor,
    k: int,
    max_similarities: int = 2**27,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Finds the k references nearest to each query, exactly, without a Q x N matrix.

    Candidates come from products of vectors that are centred at the references' mean. Their
    distances are then computed again as float64 differences, so identical vectors are at distance
    0. Products in half precision are used only if their rounding provably loses no neighbour; other
    queries are searched in float32.

    Args:
        queries: (Q, D).
        references: (N, D).
        k: number of neighbours, at most N.
        max_similarities: bounds the working memory: queries x references compared at a time.
        dtype: type of the products, float32 or bfloat16. Default: the faster
            one on this device.

    Returns:
        Distances (Q, k) float64, ascending, and indices (Q, k) int64.

    Raises:
        DataError: there are fewer than k references, dimensions differ, or a value is not finite.
    """
    _check(queries, references, k)
    if dtype is None:
        dtype = torch.bfloat16 if _half_is_faster(queries.device) else torch.float32
    distances = queries.new_empty((len(queries), k), dtype=torch.float64)
    indices = torch.empty_like(distances, dtype=torch.long)
    rows = min(_ROWS, max(1, max_similarities // len(references)))
    open_rows = torch.arange(len(queries), device=queries.device)
    for kind in dict.fromkeys((dtype, torch.float32)):
        if not len(open_rows):
            break
        search, unsure = _Search(references, k, min(rows, len(open_rows)), kind), []
        blocks = open_rows.split(rows)
        for i, block in enumerate(blocks):
            distances[block], indices[block], sure = search(queries[block])
            unsure.append(block[~sure])
            if 4 * len(unsure[-1]) > len(block):  # vectors too close for this precision
                unsure += blocks[i + 1 :]
                break
        open_rows = torch.cat(unsure)
    return distances, indices


class _Search:
    """Searches one set of references with products in one precision.

    The bias -|x|^2 / 2 that turns a product into a distance is a further column of the references;
    in half precision two, for its upper and lower digits.
    """

    def __init__(self, references, k, rows, dtype):
        self.references, self.k, self.dtype = references, k, dtype
        self.half = dtype != torch.float32
        count = len(references)
        self.candidates = min(count, 3 * k + 2 if self.half else k + 6)
        self.chunks = -(-count // _WIDTH.get(references.device.type, _WIDE))
        # references that share one maximum; there are about as many groups as members of the best
        # groups
        self.members = 16 if count < 50_000 else 32
        self.width = -(-count // (self.chunks * self.members)) * self.members
        self.groups = self.width // self.members
        self.centre = references.float().mean(0)
        database = references.float() - self.centre
        squared = (database * database).sum(1, keepdim=True)
        self.radius = float(squared.max().sqrt())
        bias = -0.5 * squared
        upper = bias.to(dtype)
        database = torch.cat([database.to(dtype), upper, (bias - upper.float()).to(dtype)], 1)
        self.database = database.new_zeros(self.chunks * self.width, database.shape[1])
        self.database[:count] = database
        self.database[count:, -2] = torch.finfo(dtype).min  # padding is never a neighbour
        self.work = database.new_empty(self.chunks * rows * self.width)

    def __call__(self, queries):
        """Returns distances and indices (b, k), and which of the queries are certainly right
        (b,)."""
        centred = queries.float() - self.centre
        closeness, index = self._candidates(centred)
        if index.shape[1] > self.k + _SPARE:
            rough = (self.references[index] - queries[:, None]).square_().sum(2)
            index = index.gather(1, rough.topk(self.k + _SPARE, largest=False).indices)
        difference = self.references[index].double() - queries[:, None].double()
        exact, order = difference.square_().sum(2).sort(dim=1, stable=True)
        sure = torch.ones_like(index[:, 0], dtype=torch.bool)
        if self.half and self.candidates < len(self.references):
            # a reference outside the candidates can be closer by at most the rounding of both
            # factors and of the result
            norm, unit = centred.norm(dim=1), torch.finfo(self.dtype).eps / 2
            last = closeness[:, -1].float()
            error = unit * (2.1 * norm * self.radius + 1.1 * last.abs() + self.radius**2 * unit)
            bound = norm.square() * (1 - 1e-6) - 2 * (last + error)
            sure = exact[:, self.k - 1] <= bound
        return (exact[:, : self.k].sqrt(), index.gather(1, order)[:, : self.k], sure)

    def _candidates(self, centred):
        """Returns scores and indices (b, candidates) of the largest x .

        q - |x|^2 / 2, descending. The largest values lie in the groups with the largest maxima;
        only these groups are sorted.
        """
        count, ones = len(centred), centred.new_ones(len(centred), 2)
        centred = torch.cat([centred, ones], 1).to(self.dtype)
        work = self.work[: self.chunks * count * self.width].view(self.chunks, count, self.width)
        maxima = work.new_empty(count, self.chunks, self.groups)
        for chunk, rows in enumerate(self.database.split(self.width)):
            torch.mm(centred, rows.t(), out=work[chunk])
            torch.amax(work[chunk].view(count, self.members, self.groups), 1, out=maxima[:, chunk])
        best = maxima.flatten(1).topk(min(self.candidates, maxima[0].numel()), dim=1).indices
        member = torch.arange(self.members, device=best.device)[:, None] * self.groups
        column = (member + (best % self.groups)[:, None]).flatten(1)
        chunk = (best // self.groups)[:, None].expand(-1, self.members, -1).flatten(1)
        row = torch.arange(count, device=best.device)[:, None]
        values = work.flatten().take((chunk * count + row) * self.width + column)
        values, place = values.topk(self.candidates, dim=1)
        return values, (chunk * self.width + column).gather(1, place)


@lru_cache
def _half_is_faster(device) -> bool:
    """Returns whether this device multiplies bfloat16 matrices clearly faster than float32
    matrices."""
    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        left = torch.ones(256, 128, dtype=dtype, device=device)
        right = torch.ones(128, 2048, dtype=dtype, device=device)
        runs = []
        for _ in range(6):  # the first product is slower
            start = time.perf_counter()
            torch.mm(left, right).sum().item()
            runs.append(time.perf_counter() - start)
        seconds.append(min(runs))
    return seconds[1] < 0.8 * seconds[0]


def _check(queries, references, k):
    if not len(references):
        raise DataError('there are no reference embeddings to search.')
    if not 1 <= k <= len(references):
        raise DataError(
            f'k is {k}, but there are {len(references)} reference embeddings; choose k '
            'between 1 and that.'
        )
    if queries.shape[1] != references.shape[1]:
        raise DataError(
            f'the queries have {queries.shape[1]} dimensions, the references '
            f'{references.shape[1]}; both must come from one model.'
        )
    for name, vectors in (('queries', queries), ('references', references)):
        # if the sum is finite, all values are; an infinite sum may be an overflow
        if not vectors.sum().isfinite() and not vectors.isfinite().all():
            raise DataError(
                f'{int((~vectors.isfinite().all(1)).sum())} of the {name} hold NaN or '
                'infinite values.'
            )
