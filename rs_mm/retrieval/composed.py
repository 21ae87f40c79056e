"""Evaluation of composed retrieval: many (image, text) pairs against one archive.

A pair's metrics depend on the ranks of its right answers only, so nothing is sorted: an image's
rank is the number of higher scores, found by counting (:func:`relevant_ranks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rs_mm.errors import DataError

from .fusion import Fusion, Neighbours, normal_cdf


@dataclass
class QuerySet:
    """Pairs of a query image and a text, and their right answers, over an archive of N images.

    Args:
        name: what the pairs have in common, e.g. the attribute ``color``.
        images: ``(P,)`` int64, row of each pair's query image in the archive.
        prompts: the T different texts.
        texts: ``(P,)`` int64, index of each pair's text in ``prompts``.
        answers: G sets of right answers, each ``(R_g,)`` int64 rows of the archive.
        groups: ``(P,)`` int64, index of each pair's set in ``answers``.
        labels: what to call each pair's query image, e.g. its class.
    """

    name: str
    images: Tensor
    prompts: list[str]
    texts: Tensor
    answers: list[Tensor]
    groups: Tensor
    labels: list[str]

    def __len__(self) -> int:
        return len(self.images)


def places_by_name(names: Sequence[str]) -> dict[str, int]:
    """Base name of an image -> its row in the archive.

    Raises:
        DataError: if the archive has a base name twice.
    """
    places = {name: i for i, name in enumerate(names)}
    if len(places) != len(names):
        twice = next(name for i, name in enumerate(names) if places[name] != i)
        raise DataError(
            f'the archive has several images named {twice}; the lists of queries tell '
            'images apart by their base names.'
        )
    return places


def relevant_ranks(scores: Tensor, relevant: Tensor, rows: Tensor | None = None) -> Tensor:
    """Ranks of chosen images, without sorting the archive.

    The scores of a row are put into equal bins between the lowest and the highest chosen one, and
    one more on either side. The higher bins are counted whole; only the bins that hold a chosen
    image are looked into. Exact for any distribution of scores. Equal scores are ranked in the
    order of the archive.

    Args:
        scores: ``(B, N)`` float32, finite; the higher, the better.
        relevant: ``(P, R)`` int64, rows of the archive, padded with -1.
        rows: ``(P,)`` int64, the row of ``scores`` each row of ``relevant`` belongs
            to. Default: they belong together one by one.

    Returns:
        ``(P, R)`` int64 ranks from 1, in the order of ``relevant``; 0 where padded.
    """
    batch, size = scores.shape
    device = scores.device
    if rows is None:
        rows = torch.arange(batch, device=device)
    # padding repeats the first one, so that it has no bin of its own to look into
    chosen = torch.where(relevant < 0, relevant[:, :1], relevant).clamp(min=0)
    chosen += rows[:, None] * size
    own = scores.reshape(-1)[chosen]
    ends = [
        scores.new_full((batch,), sign * torch.inf).scatter_reduce_(
            0,
            rows[:, None].expand_as(own).reshape(-1),
            own.masked_fill(relevant < 0, sign * torch.inf).view(-1),
            reduce,
        )[:, None]
        for sign, reduce in ((1, 'amin'), (-1, 'amax'))
    ]
    low, high = [end.nan_to_num(0, 0, 0) for end in ends]  # infinite where nothing is chosen
    bins = max(4, 1 << (size // 2).bit_length())
    width = ((high - low) / (bins - 3)).clamp_min(torch.finfo(scores.dtype).tiny)
    # every step is monotone, so a higher bin means a higher score; int32 and single passes,
    # because this is bound by memory
    binned = (scores - low).div_(width).add_(1).clamp_(0, bins - 1).to(torch.int32)
    binned += torch.arange(batch, dtype=torch.int32, device=device)[:, None] * bins
    binned = binned.view(-1)
    not_above = torch.bincount(binned, minlength=batch * bins).view(batch, bins).cumsum(1).view(-1)

    own_bin = binned[chosen]
    ranks = size - not_above[own_bin] + 1

    looked_into = torch.zeros(batch * bins, dtype=torch.bool, device=device)
    looked_into.scatter_(0, own_bin.view(-1).long(), True)
    inside = looked_into.index_select(0, binned).nonzero().squeeze(1)
    bins_inside = binned[inside]
    order = _order(bins_inside, scores.reshape(-1)[inside])
    place = torch.empty_like(order)
    place.scatter_(0, order, torch.arange(len(order), device=device))
    first = torch.searchsorted(bins_inside[order], own_bin)
    ranks += place[torch.searchsorted(inside, chosen)] - first
    return ranks.masked_fill_(relevant < 0, 0)


def _order(bins, scores):
    """Indices that sort by bin, then by score from the highest, then by position.

    Both go into one integer, since one sort of integers is cheaper than two. The bits of a float,
    read as an integer, ascend with it, once those of negative numbers are turned round.
    """
    bits = (scores + 0.0).view(torch.int32)  # adding zero makes -0.0 equal to 0.0
    ascending = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return ((bins.long() << 32) - ascending).argsort(stable=True)


def ranking_metrics(ranks: Tensor, ks: Sequence[int] = (5, 10, 15, 20)) -> Tensor:
    """Recall, precision and average precision of rankings.

    Args:
        ranks: ``(B, R)`` int64 ranks from 1 of *all* right answers, 0 where padded.
        ks: depths.

    Returns:
        ``(B, 2 * len(ks) + 1)`` float64 in [0, 1]: R@k for each k, P@k for each k, AP.
        Recall is over all right answers. AP is the mean over right answers of (right answers so
        far / rank). Without a right answer all are 0.
    """
    found = ranks > 0
    count = found.sum(1)
    ordered = ranks.masked_fill(~found, torch.iinfo(ranks.dtype).max).sort(1).values
    so_far = torch.arange(1, ranks.shape[1] + 1, device=ranks.device)
    total = count.clamp(min=1).double()
    precision = (so_far / ordered.double()).masked_fill(so_far > count[:, None], 0)
    hits = torch.stack([(ordered <= k).sum(1) for k in ks], 1).double()
    depths = torch.tensor(ks, device=ranks.device)
    return torch.cat([hits / total[:, None], hits / depths, (precision.sum(1) / total)[:, None]], 1)


def metric_names(ks: Sequence[int] = (5, 10, 15, 20)) -> list[str]:
    """Names of :func:`ranking_metrics`' columns."""
    return [f'R@{k}' for k in ks] + [f'P@{k}' for k in ks] + ['AP']


def evaluate_queries(
    queries: QuerySet,
    features: Tensor,
    prompt_features: Tensor,
    fusions: Sequence[Fusion],
    ks: Sequence[int] = (5, 10, 15, 20),
    chunk_size: int = 2**22,
) -> Tensor:
    """Metrics of every pair under every fusion, in one pass over the pairs.

    Similarities and their normalised forms are computed once, whatever the number of fusions.

    Args:
        queries: P pairs.
        features: ``(N, D)`` float32 archive, rows L2-normalised. The query images are
            rows of it and stay in it.
        prompt_features: ``(T, D)`` float32, rows L2-normalised, as ``queries.prompts``.
        fusions: what to compare: any number that leave the queries as they are,
            or one that does not (:attr:`Fusion.transforms_queries`).
        ks: depths.
        chunk_size: similarities handled at once, at least those of one query; the memory is
            a few dozen bytes for each.

    Returns:
        ``(len(fusions), P, 2 * len(ks) + 1)`` float64, see :func:`ranking_metrics`.
    """
    out = torch.zeros(len(fusions), len(queries), 2 * len(ks) + 1, dtype=torch.float64)
    if not len(queries):
        return out
    answers = torch.nn.utils.rnn.pad_sequence(queries.answers, True, -1).to(features.device)
    normalize = any(fusion.normalize for fusion in fusions)
    space, near = fusions[0], nearest_by_product(features)
    if len(fusions) > 1 and any(fusion.transforms_queries for fusion in fusions):
        raise ValueError('a fusion that transforms queries is evaluated alone')
    rows = max(1, chunk_size // len(features))

    def record(names, image, text, pairs, score_rows=None):
        relevant = answers[queries.groups[pairs]]
        relevant = relevant[:, : int((relevant >= 0).sum(1).max())]
        for i, fusion in enumerate(fusions):
            if fusion.modalities == names:
                scores = fusion.fuse(*(part[fusion.normalize] for part in (image, text)))
                ranks = relevant_ranks(scores, relevant, score_rows)
                out[i, pairs] = ranking_metrics(ranks, ks).cpu()

    for start in range(0, len(queries.prompts), rows):
        asked = space.text_queries(prompt_features[start : start + rows])
        text = _similarity(asked, features, normalize)
        mine = ((queries.texts >= start) & (queries.texts < start + rows)).nonzero()[:, 0]
        mine = mine[queries.images[mine].argsort(stable=True)]  # an image's pairs come together
        text_rows = (queries.texts - start).to(features.device)
        for pairs in mine.split(64 * rows):
            record(('text',), (None, None), text, pairs, text_rows[pairs])
        for block in mine.split(rows):
            images, image_rows = queries.images[block].unique(return_inverse=True)
            image_rows = image_rows.to(features.device)
            image = _similarity(space.image_queries(features[images], near), features, normalize)
            record(('image',), image, (None, None), block, image_rows)
            # many images make an efficient product; few rows stay in the processor's cache
            few = max(1, rows // 8)
            for pairs, part_rows in zip(block.split(few), image_rows.split(few)):
                record(
                    ('image', 'text'), _rows(image, part_rows), _rows(text, text_rows[pairs]), pairs
                )
    return out


def _rows(parts, rows):
    return [None if part is None else part.index_select(0, rows) for part in parts]


def _similarity(queries, features, normalize):
    """Similarities (B, N), and the same normalised if that is asked for."""
    plain = queries.vectors @ features.T
    if queries.offsets.any():
        plain += queries.offsets[:, None]
    return plain, normal_cdf(plain) if normalize else None


def spread(total: int, count: int) -> Tensor:
    """At most ``count`` rows, int64, spread evenly over ``total``."""
    return torch.linspace(0, total - 1, min(count, total)).round().long()


def nearest_by_product(features: Tensor) -> Neighbours:
    """Looks up the features with the largest products with a vector, among ``(N, D)``."""

    def look_up(vectors: Tensor, k: int) -> Tensor:
        return features[(vectors @ features.T).topk(min(k, len(features)), dim=1).indices]

    return look_up


def score_archive(fusion: Fusion, image: Tensor, text: Tensor, features: Tensor) -> Tensor:
    """Scores ``(B, N)`` of the archive for query images and texts, ``(B, D)`` each."""
    near = nearest_by_product(features)
    parts = [fusion.image_queries(image, near), fusion.text_queries(text)]
    return fusion(*(part.vectors @ features.T + part.offsets[:, None] for part in parts))


def top_k(
    queries: QuerySet,
    pair: int,
    features: Tensor,
    prompt_features: Sequence[Tensor],
    fusions: Sequence[Fusion],
    k: int,
) -> tuple[Tensor, Tensor]:
    """The best images for one pair under every fusion.

    Args:
        queries: the pairs.
        pair: number of the pair.
        features: ``(N, D)`` archive.
        prompt_features: ``(T, D)`` features of the prompts as each fusion wants them.
        fusions: F methods.
        k: how many images.

    Returns:
        ``(F, k)`` int64 rows of the archive, and their scores.
    """
    image, best = features[queries.images[pair]][None], []
    for fusion, prompts in zip(fusions, prompt_features):
        scores = score_archive(fusion, image, prompts[queries.texts[pair]][None], features)[0]
        best.append(scores.topk(min(k, len(features))))
    return torch.stack([b.indices for b in best]), torch.stack([b.values for b in best])


def average(per_pair: Tensor, original_rounding: bool = False) -> Tensor:
    """Means over pairs, per cent.

    Args:
        per_pair: ``(..., P, M)`` float64 in [0, 1].
        original_rounding: round every pair's value and then their mean to two decimals, as
            the official evaluation does; off, the mean is exact.

    Returns:
        ``(..., M)`` float64 in [0, 100].
    """
    values = 100 * per_pair
    if original_rounding:
        return values.round(decimals=2).mean(-2).round(decimals=2)
    return values.mean(-2)
