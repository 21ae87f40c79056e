"""The evaluation of a retrieval run: all measures of every query, in chunks of queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from rs_mm.errors import ConfigError

from .label_similarity import MatchLevels
from .measures import average_precisions, precision_at, shared_label_measures
from .ranking import Ranking

THRESHOLDS = {'easy': 0.6, 'medium': 0.4, 'hard': 0.2}
CUTOFFS = (20, 40, 60, 80, 100)
_RANKED_AT_ONCE = 2**20  # scores ranked at a time by a CPU thread, few enough for its cache


def check_cutoffs(key: str, values: Sequence[int]) -> list[int]:
    """Checks the cut-offs of a measure and returns them as a list.

    Args:
        key: their key in the config.
        values: whole numbers from 1.

    Raises:
        ConfigError: a value is not a whole number from 1, or there is none.
    """
    if (
        not isinstance(values, (list, tuple))
        or not values
        or not all(isinstance(value, int) and value > 0 for value in values)
    ):
        raise ConfigError(
            f'{key} is {values!r}; give a list of whole numbers from 1, such as [5, 10].'
        )
    return list(values)


def check_sizes(
    database: int,
    at: Sequence[int],
    shared_at: Sequence[int],
    chunk: int | None = None,
    queries: int = 0,
) -> None:
    """Checks that there are enough images for the measures.

    Args:
        database: number of images that are searched.
        at, shared_at: cut-offs.
        chunk, queries: queries per run (None: one mean over all), and number of queries.

    Raises:
        ConfigError: there are not enough images or queries.
    """
    for name, cutoff in (('at', max(at)), ('shared_at', max(shared_at))):
        if cutoff > database:
            raise ConfigError(
                f'{name} needs the best {cutoff}, but the database holds {database} '
                'images; use smaller cut-offs or a larger database.'
            )
    if chunk is not None:
        _check_chunk(chunk, queries)


def _check_chunk(chunk, queries):
    if queries < chunk:
        raise ConfigError(
            f'mean_chunk is {chunk}, but there are {queries} queries; use a '
            'smaller one, or None for one mean over all queries.'
        )


def split_queries(
    count: int, fraction: float = 0.2, seed: int = 24
) -> tuple[np.ndarray, np.ndarray]:
    """Makes the published split: a seeded draw of queries; the rest is the database.

    Returns:
        query rows and database rows, both ascending int64 arrays.
    """
    queries = np.sort(np.random.RandomState(seed).permutation(count)[: int(fraction * count)])
    return queries, np.setdiff1d(np.arange(count), queries)


@dataclass
class QueryMeasures:
    """The measures of each query.

    Attributes:
        values: name -> (Q,) float64 array, NaN if undefined. ``mAP_{level}``, ``P@10_{level}``
            (trapezoid AP and precision at the match levels), ``mAP_shared``, ``P@k_shared``,
            ``R@k_shared`` (plain AP, precision, and whether there is a match; matches share a
            label), ``ACG@k``, ``nDCG@k``, ``wAP@k``.
        matches: level -> (Q,) number of matches in the database.
        positions: (Q, k) best images, as rows of the database.
        scores: (Q, k) their scores.
        shared: (Q, k) numbers of labels that they share with the query.
    """

    values: dict[str, np.ndarray]
    matches: dict[str, np.ndarray]
    positions: Tensor
    scores: Tensor
    shared: Tensor

    def mean(self, kept_level: str = 'hard', chunk: int | None = None) -> dict[str, float]:
        """Computes means over the queries.

        Args:
            kept_level: measures of the match levels are averaged over the queries that have a
                match at this level and at the measured level (which matters if the kept level is
                not the strictest); measures of shared labels over the queries with such a match.
            chunk: None: over all queries (the standard protocol). A number C (the BigEarthNet
                protocol): the queries are divided into floor(Q / C) nearly equal runs, and the
                means of the runs are averaged with equal weight. A run without a query to average
                is left out (the original raises an error).

        Returns:
            name -> mean; NaN if no query has a match.

        Raises:
            ConfigError: there are fewer queries than ``chunk``.
        """
        count = len(self.positions)
        runs = [np.arange(count)]
        if chunk is not None:
            _check_chunk(chunk, count)
            runs = np.array_split(runs[0], count // chunk)
        return {name: self._mean(name, runs, kept_level) for name in self.values}

    def _mean(self, name, runs, kept_level):
        kept = np.ones(len(self.positions), bool)
        level = name.partition('_')[2]
        if level:
            kept = self.matches[level] > 0
            if level != 'shared':
                kept &= self.matches[kept_level] > 0
        means = [self.values[name][run[kept[run]]].mean() for run in runs if kept[run].any()]
        return float(np.mean(means)) if means else float('nan')


def evaluate(
    scores: Callable[[int, int], Tensor],
    query_labels: Tensor,
    database_labels: Tensor,
    thresholds: Mapping[str, float] = THRESHOLDS,
    at: Sequence[int] = CUTOFFS,
    shared_at: Sequence[int] = (1, 5, 10),
    keep: int = 100,
    chunk_size: int = 256,
) -> QueryMeasures:
    """Ranks the database for every query and measures the ranking.

    Args:
        scores: ``scores(start, stop)`` gives the (n, N) scores of a slice of the queries, float32
            (larger is better) or int32 (smaller is better), see :class:`CosineScores`.
        query_labels: (Q, L) of 0 and 1.
        database_labels: (N, L) of 0 and 1.
        thresholds: match level -> largest Jaccard distance of a match.
        at: cut-offs of ACG, nDCG and wAP.
        shared_at: cut-offs of R@k and P@k over shared labels.
        keep: number of the best images to return per query.
        chunk_size: queries at a time, over all threads; about 4 bytes x ``chunk_size`` x N are in
            use, on a GPU 24.
    """
    size = len(database_labels)
    check_sizes(size, at, shared_at)
    keep = min(keep, size)
    levels = MatchLevels(database_labels, thresholds, shared=True)

    rows = chunk_size if query_labels.is_cuda else max(1, _RANKED_AT_ONCE // size)

    results = _Results(len(query_labels))

    def work(start, stop):
        block = scores(start, stop)
        for first in range(start, stop, rows):
            last = min(first + rows, stop)
            codes, shared = levels(query_labels[first:last])
            ranking = Ranking(block[first - start : last - start], codes)
            results.write(
                first, *_measure(ranking, shared, levels.names, list(at), list(shared_at), keep)
            )

    _in_chunks(work, len(query_labels), chunk_size, query_labels.is_cuda)
    values, matches, kept = results.on_cpu()
    return QueryMeasures(
        {name: value.numpy() for name, value in values.items()},
        {name: value.numpy() for name, value in matches.items()},
        **kept,
    )


class _Results:
    """Groups of named tensors over all queries, which are written in parts.

    The tensors are allocated once, at the first part. Small tensors per part would fragment the
    memory of the allocator, which then could not reuse the large freed blocks.

    Args:
        count: number of queries.
    """

    def __init__(self, count: int):
        self._count = count
        self._groups: list[dict[str, Tensor]] = []
        self._lock = Lock()

    def write(self, start: int, *groups: dict[str, Tensor]) -> None:
        """Writes a part from row ``start``; every part has the same groups and names."""
        with self._lock:
            if not self._groups:
                self._groups = [
                    {key: part.new_empty(self._count, *part.shape[1:]) for key, part in g.items()}
                    for g in groups
                ]
        for whole, group in zip(self._groups, groups):
            for key, part in group.items():
                whole[key][start : start + len(part)] = part

    def on_cpu(self) -> list[dict[str, Tensor]]:
        """Returns the groups in main memory."""
        return [{key: value.cpu() for key, value in group.items()} for group in self._groups]


def _in_chunks(work, count, chunk_size, on_gpu):
    """Calls ``work(start, stop)`` for every chunk.

    On a CPU each thread takes whole chunks, because hundreds of short parallel operations would
    each wait for the slowest thread.
    """
    threads = 1 if on_gpu else torch.get_num_threads()
    step = max(1, min(chunk_size // threads, -(-count // threads)))
    starts = range(0, count, step)
    if threads == 1:
        for start in starts:
            work(start, min(start + step, count))
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(lambda start: work(start, min(start + step, count)), starts):
                pass  # raises an error of a thread
    finally:
        torch.set_num_threads(threads)


def _measure(ranking, shared, names, at, shared_at, keep):
    codes = ranking.payload()
    values, matches = {}, {}
    for bit, name in enumerate(names):
        hits = (codes >> bit) & 1
        trapezoid, plain, count = average_precisions(hits)
        matches[name] = count
        if name == 'shared':
            values['mAP_shared'] = plain
            for k in shared_at:
                values[f'R@{k}_shared'] = hits[:, :k].amax(1).double()
                values[f'P@{k}_shared'] = hits[:, :k].double().mean(1)
        else:
            values[f'mAP_{name}'] = trapezoid
            values[f'P@10_{name}'] = precision_at(hits, count)
    best = ranking.positions(max(max(at), keep))
    in_order = shared.gather(1, best)
    values.update(shared_label_measures(in_order, at))
    kept = dict(positions=best[:, :keep], scores=ranking.scores(keep), shared=in_order[:, :keep])
    return values, matches, kept
