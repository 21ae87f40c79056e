"""Search with an image and a text together, from candidates, with a proof.

A record that is not among the best K for the image, nor among the best K for the text, has at most
the K-th similarity in both. If the best score for such a pair of similarities is below the k-th
score found, no other record belongs to the best k. K is doubled until this holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rs_mm.errors import DataError

from ..fusion import Fusion, Queries
from .base import Hits, Index, best
from .filters import Condition

SCAN = 20_000  # up to this number of records, all are compared
FIRST = 1000  # candidates per modality to begin with
_SLACK = 1e-5  # by which a back end's float32 products may be out of order, for a query of length 1


@dataclass
class Answer:
    """The result of a search, and how it was found.

    Attributes:
        keys: best first; equal scores by key.
        scores: float64.
        backend: name of the back end.
        exact: whether the result is certainly complete.
        seen: records whose score was computed.
        total: records that were searched.
    """

    keys: list[str]
    scores: np.ndarray
    backend: str
    exact: bool
    seen: int
    total: int

    def report(self) -> str:
        """Returns one line about how the answer was found."""
        kind = 'exact' if self.exact else 'approximate'
        return f'{self.backend} index, {kind}: {self.seen} of {self.total} records compared'


@dataclass
class Query:
    """A query that is prepared for one archive.

    Attributes:
        fusion: how the two similarities become a score.
        image: ``(vector, offset)`` of the image, or None if it is not used.
        text: ``(vector, offset)`` of the text, or None.
        spread: mean and deviation of the similarities to image and text over the archive, for a
            fusion that normalises.
    """

    fusion: Fusion
    image: tuple[np.ndarray, float] | None
    text: tuple[np.ndarray, float] | None
    spread: tuple[tuple[float, float], tuple[float, float]]

    @classmethod
    def of(
        cls,
        index: Index,
        fusion: Fusion,
        image: Tensor | None,
        text: Tensor | None,
        where: Condition | None,
    ) -> Query:
        """Prepares a query with an image ``(D,)``, a text ``(D,)``, or both."""

        def neighbours(vectors, k):
            near = []
            for vector in vectors.cpu().numpy():
                hits = index.search(vector, k, where)
                near.append(torch.from_numpy(index.fetch(hits.keys)))
            return torch.stack(near).to(vectors)

        parts = []
        for modality, feature in (('image', image), ('text', text)):
            if feature is None or modality not in fusion.modalities:
                parts.append(None)
                continue
            queries = (
                fusion.image_queries(feature[None], neighbours)
                if modality == 'image'
                else fusion.text_queries(feature[None])
            )
            parts.append(_plain(queries))
        spread = [(0.0, 1.0), (0.0, 1.0)]
        if fusion.normalize:
            moments = index.moments(where)
            for i, part in enumerate(parts):
                if part is not None:
                    mean, deviation = moments.of_similarity(part[0])
                    spread[i] = mean + part[1], deviation or 1.0
        return cls(fusion, parts[0], parts[1], (spread[0], spread[1]))

    def similarities(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns similarities ``(n,)`` of vectors ``(n, D)`` to image and text, float64; 0 for a
        missing one."""
        vectors = vectors.astype(np.float64)
        zero = np.zeros(len(vectors))
        image, text = (
            zero if part is None else vectors @ part[0] + part[1]
            for part in (self.image, self.text)
        )
        return image, text

    def scores(self, image: np.ndarray, text: np.ndarray) -> np.ndarray:
        """Returns scores ``(n,)`` of similarities."""
        return self.fusion.fuse(*self._normalised(image, text)).numpy()

    def bound(self, image: float, text: float) -> float:
        """Returns the highest score of similarities that are not larger than these."""
        parts = self._normalised(np.array([image]), np.array([text]))
        return float(self.fusion.bound(*parts)[0])

    def _normalised(self, image, text):
        parts = [torch.from_numpy(np.asarray(part, np.float64)) for part in (image, text)]
        if not self.fusion.normalize:
            return parts
        return [
            torch.special.ndtr((part - mean) / deviation)
            for part, (mean, deviation) in zip(parts, self.spread)
        ]


def search_fused(
    index: Index,
    fusion: Fusion,
    image: Tensor | None,
    text: Tensor | None,
    k: int,
    where: Condition | None = None,
    first: int = FIRST,
    scan: int = SCAN,
) -> Answer:
    """Finds the ``k`` records with the highest fused scores.

    Args:
        index: index to search.
        fusion: how similarities become scores; already fitted if it needs statistics.
        image: ``(D,)`` feature of the query image, of length 1; None without one.
        text: ``(D,)`` feature of the text.
        k: number of records.
        where: only records that meet this condition; mean and deviation are then computed from
            them.
        first: first number of candidates per modality.
        scan: in an archive of at most this many records, all are compared.

    Raises:
        DataError: no record meets the condition, or a score is not a number.
    """
    total = index.count(where)
    if not total:
        raise DataError(
            f'{index.uri} is empty.'
            if where is None
            else f'no record of {index.uri} meets the filter; of {index.count()} records, relax it.'
        )
    query, k = Query.of(index, fusion, image, text, where), min(k, total)
    size = max(first, k)
    if total <= max(scan, size):
        return _compare_all(index, query, k, where, total)
    while size < total and size <= index.most_candidates:
        hits, seen, bound = _compare_candidates(index, query, size, k, where)
        if len(hits.keys) == k and hits.similarities[-1] > bound + 1e-9:
            return _answer(index, hits, index.is_exact(where), seen, total)
        size *= 2
    return _compare_all(index, query, k, where, total)


def _compare_candidates(index, query, size, k, where):
    """Returns the best candidates, their number, and the highest possible score of other
    records."""
    found, limits = {}, []
    for part in (query.image, query.text):
        if part is None:
            limits.append(0.0)
            continue
        keys, vectors = index.candidates(part[0].astype(np.float32), size, where)
        found.update(zip(keys, vectors))
        products = np.sort(vectors.astype(np.float64) @ part[0])[::-1]
        last = products[min(size, len(products)) - 1] if len(products) else -np.inf
        limits.append(last + part[1] + _SLACK * float(np.linalg.norm(part[0])))
    keys = list(found)
    scores = query.scores(*query.similarities(np.stack(list(found.values()))))
    _check_finite(index, keys, scores)
    return best(keys, scores, k), len(keys), query.bound(*limits)


def _compare_all(index, query, k, where, total):
    keys, scores = [], []
    for block, vectors in index.scan(where):
        of_block = query.scores(*query.similarities(vectors))
        _check_finite(index, block, of_block)
        if len(block) > k:  # ties at the limit are kept and finally ordered by key
            kept = np.flatnonzero(of_block >= np.partition(of_block, -k)[-k] - 1e-9)
            block, of_block = [block[i] for i in kept], of_block[kept]
        keys += block
        scores.append(of_block)
    return _answer(index, best(keys, np.concatenate(scores), k), True, total, total)


def _check_finite(index, keys, scores):
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise DataError(
            f'the similarity to {keys[bad[0]]} of {index.uri} is {scores[bad[0]]}; are the weights '
            'damaged, or did their training diverge?'
        )


def _answer(index, hits: Hits, exact, seen, total):
    return Answer(hits.keys, hits.similarities, index.name, exact, seen, total)


def _plain(queries: Queries):
    vector = queries.vectors[0].detach().cpu().double().numpy()
    return vector, float(queries.offsets[0])


def check_recall(index: Index, k: int, where: Condition | None = None, queries: int = 20) -> float:
    """Measures the share of the true best ``k`` that the back end finds, for a sample of the
    archive.

    Args:
        index: index to check.
        k: number of records per query.
        where: only records that meet this condition.
        queries: number of queries, which are vectors spread over the archive.
    """
    sample = index.sample(queries, where).astype(np.float64)
    keys: list[list[str]] = [[] for _ in sample]
    products = [np.zeros(0) for _ in sample]
    for block, vectors in index.scan(where):
        for i, row in enumerate(sample @ vectors.astype(np.float64).T):
            top = np.argsort(-row, kind='stable')[:k]
            hits = best(
                [*keys[i], *(block[j] for j in top)], np.concatenate([products[i], row[top]]), k
            )
            keys[i], products[i] = hits.keys, hits.similarities
    found = [set(index.search(vector, k, where).keys) for vector in sample]
    return float(np.mean([len(found[i] & set(keys[i])) / len(keys[i]) for i in range(len(sample))]))
