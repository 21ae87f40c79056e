"""Evaluation of composed retrieval: many (image, text) pairs against one archive.

The metrics of a pair depend only on the ranks of its correct answers, so nothing is sorted: an
image's rank is the number of higher scores, found by counting (:func:`relevant_ranks`).
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
    """Pairs of a query image and a text, with their correct answers, over an archive of N images.

    Args:
        name: common name of the pairs, e.g. the attribute ``color``.
        images: ``(P,)`` int64, row of each pair's query image in the archive.
        prompts: the T different texts.
        texts: ``(P,)`` int64, index of each pair's text in ``prompts``.
        answers: G sets of correct answers, each ``(R_g,)`` int64 rows of the archive.
        groups: ``(P,)`` int64, index of each pair's set in ``answers``.
        labels: a label for the query image of each pair, e.g. its class.
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
    """Maps the base name of each image to its row in the archive.

    Raises:
        DataError: the archive has a base name twice.
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
    """Computes the ranks of chosen images without sorting the archive.

    The scores of a row are put into equal bins between the lowest and the highest chosen score, and
    one more bin on either side. All scores in higher bins are counted; only bins with a chosen
    image are examined score by score. The result is exact for any distribution of scores. Equal
    scores are ranked in the order of the archive.

    Args:
        scores: ``(B, N)`` float32, finite; the higher, the better.
        relevant: ``(P, R)`` int64, rows of the archive, padded with -1.
        rows: ``(P,)`` int64, the row of ``scores`` for each row of ``relevant``. Default: the same
            row.

    Returns:
        ``(P, R)`` int64 ranks from 1, in the order of ``relevant``; 0 where padded.
    """
    batch, size = scores.shape
    device = scores.device
    if rows is None:
        rows = torch.arange(batch, device=device)
    # padding repeats the first entry, so it adds no bin to examine
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
    low, high = [end.nan_to_num(0, 0, 0) for end in ends]  # infinite if nothing is chosen
    bins = max(4, 1 << (size // 2).bit_length())
    width = ((high - low) / (bins - 3)).clamp_min(torch.finfo(scores.dtype).tiny)
    # every step is monotone, so a higher bin means a higher score; int32 and few passes, because
    # memory bandwidth limits the speed
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
    """Returns indices that sort by bin, then by score from the highest, then by position.

    Bin and score are put into one integer, because one sort is cheaper than two. The bits of a
    float, read as an integer, have the order of the floats, after a reversal for negative numbers.
    """
    bits = (scores + 0.0).view(torch.int32)  # adding zero makes -0.0 equal to 0.0
    ascending = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return ((bins.long() << 32) - ascending).argsort(stable=True)


def ranking_metrics(ranks: Tensor, ks: Sequence[int] = (5, 10, 15, 20)) -> Tensor:
    """Computes recall, precision and average precision of rankings.

    Args:
        ranks: ``(B, R)`` int64 ranks from 1 of *all* correct answers, 0 for padding.
        ks: depths.

    Returns:
        ``(B, 2 * len(ks) + 1)`` float64 in [0, 1]: R@k for each k, P@k for each k, AP.
        Recall is over all correct answers. AP is the mean over correct answers of (correct answers
        so far / rank). Without a correct answer all are 0.
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
    """Returns the names of the columns of :func:`ranking_metrics`."""
    return [f'R@{k}' for k in ks] + [f'P@{k}' for k in ks] + ['AP']


def evaluate_queries(
    queries: QuerySet,
    features: Tensor,
    prompt_features: Tensor,
    fusions: Sequence[Fusion],
    ks: Sequence[int] = (5, 10, 15, 20),
    chunk_size: int = 2**22,
) -> Tensor:
    """Computes the metrics of every pair under every fusion, in one pass over the pairs.

    Similarities and their normalised forms are computed once for all fusions.

    Args:
        queries: P pairs.
        features: ``(N, D)`` float32 archive, rows L2-normalised. The query images are rows of the
            archive and are not removed.
        prompt_features: ``(T, D)`` float32, rows L2-normalised, as ``queries.prompts``.
        fusions: the fusions to compare: any number of fusions that do not change the queries, or a
            single fusion that does (:attr:`Fusion.transforms_queries`).
        ks: depths.
        chunk_size: similarities handled at once, at least those of one query; each takes a few
            dozen bytes.

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
        mine = mine[queries.images[mine].argsort(stable=True)]  # grouped by image
        text_rows = (queries.texts - start).to(features.device)
        for pairs in mine.split(64 * rows):
            record(('text',), (None, None), text, pairs, text_rows[pairs])
        for block in mine.split(rows):
            images, image_rows = queries.images[block].unique(return_inverse=True)
            image_rows = image_rows.to(features.device)
            image = _similarity(space.image_queries(features[images], near), features, normalize)
            record(('image',), image, (None, None), block, image_rows)
            # many images per product are efficient, and few rows stay in the processor's cache
            few = max(1, rows // 8)
            for pairs, part_rows in zip(block.split(few), image_rows.split(few)):
                record(
                    ('image', 'text'), _rows(image, part_rows), _rows(text, text_rows[pairs]), pairs
                )
    return out


def _rows(parts, rows):
    return [None if part is None else part.index_select(0, rows) for part in parts]


def _similarity(queries, features, normalize):
    """Returns similarities (B, N), and their normalised values if needed."""
    plain = queries.vectors @ features.T
    if queries.offsets.any():
        plain += queries.offsets[:, None]
    return plain, normal_cdf(plain) if normalize else None


def spread(total: int, count: int) -> Tensor:
    """Returns at most ``count`` rows, int64, spread evenly over ``total``."""
    return torch.linspace(0, total - 1, min(count, total)).round().long()


def nearest_by_product(features: Tensor) -> Neighbours:
    """Returns a function that finds the features of ``(N, D)`` with the largest products with a
    vector."""

    def look_up(vectors: Tensor, k: int) -> Tensor:
        return features[(vectors @ features.T).topk(min(k, len(features)), dim=1).indices]

    return look_up


def score_archive(fusion: Fusion, image: Tensor, text: Tensor, features: Tensor) -> Tensor:
    """Returns scores ``(B, N)`` of the archive for query images and texts, ``(B, D)`` each."""
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
    """Finds the best images for one pair under every fusion.

    Args:
        queries: the pairs.
        pair: number of the pair.
        features: ``(N, D)`` archive.
        prompt_features: ``(T, D)`` features of the prompts for each fusion.
        fusions: F methods.
        k: number of images.

    Returns:
        ``(F, k)`` int64 rows of the archive, and their scores.
    """
    image, best = features[queries.images[pair]][None], []
    for fusion, prompts in zip(fusions, prompt_features):
        scores = score_archive(fusion, image, prompts[queries.texts[pair]][None], features)[0]
        best.append(scores.topk(min(k, len(features))))
    return torch.stack([b.indices for b in best]), torch.stack([b.values for b in best])


def average(per_pair: Tensor, original_rounding: bool = False) -> Tensor:
    """Computes means over pairs, in per cent.

    Args:
        per_pair: ``(..., P, M)`` float64 in [0, 1].
        original_rounding: round every pair's value and then their mean to two decimals, as the
            official evaluation does. False: the mean is exact.

    Returns:
        ``(..., M)`` float64 in [0, 100].
    """
    values = 100 * per_pair
    if original_rounding:
        return values.round(decimals=2).mean(-2).round(decimals=2)
    return values.mean(-2)
