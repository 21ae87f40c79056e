"""Multi-label retrieval in one set of images, by the published protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from rs_mm.datasets.label_tables import check_unique, read_names
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.registry import METRICS, TASK_UTILS
from rs_mm.retrieval import (
    CUTOFFS,
    PCA,
    THRESHOLDS,
    CosineScores,
    check_cutoffs,
    check_finite,
    check_sizes,
    evaluate,
    normalized,
    split_queries,
)

from .sample_scores import unique_names

# scores of the plain ranking; NaN if a query has no match at the level
_BY_QUERY = ('mAP_shared', 'mAP_easy', 'mAP_medium', 'mAP_hard', 'P@10_hard', 'nDCG@20', 'nDCG@100')


@dataclass
class Retrieved:
    """The plain ranking of the last evaluation, for pictures.

    Attributes:
        queries: (Q,) rows of the queries in the dataset.
        results: (Q, k) rows of their best matches, best first.
        similarity: (Q, k) cosine similarity.
        names: name of every image of the dataset.
        labels: (N, L) labels of every image.
    """

    queries: np.ndarray
    results: np.ndarray
    similarity: np.ndarray
    names: list[str]
    labels: np.ndarray


@METRICS.register_module(name=['MultiLabelRetrievalMetric', 'MultiLabelRetrieval'])
class MultiLabelRetrievalMetric(BaseMetric):
    """A metric of the retrieval measures of Imbriaco et al.

    2021, and of plain measures. A seeded fifth of the images are the queries, the rest is the
    database. The keys, all with the prefix ``retrieval/``:

    - ``mAP_easy|medium|hard``, ``P@10_easy|medium|hard``: trapezoid mAP and precision at 10, where
      images within a Jaccard distance of 0.6, 0.4 or 0.2 match. Queries without a hard match are
      left out of all three levels, and counted in the log; NaN if none is left.
    - ``ACG@k``, ``nDCG@k``, ``wAP@k`` for k = 20 ... 100, from the number of shared labels.
    - ``mAP_shared``, ``P@k_shared``, ``R@k_shared``: images that share a label match.
    - the same for every re-ranker, e.g. ``qe10/mAP_hard``.

    Args:
        query_fraction: share of the images that become queries.
        seed: seed of this draw.
        queries: instead, names of the queries: a list, or a file with the names in its first
            column.
        database: names of the database, in the same form. Default: every image that is not a query.
            An image in both lists finds itself.
        thresholds: match level -> largest Jaccard distance of a match. With the defaults of the
            original script, the ground truth of its BigEarthNet run has the names reversed: easy
            0.2, medium 0.4, hard 0.6.
        kept_level: only queries with a match at this level enter mAP and precision.
        at: cut-offs of ACG, nDCG and wAP.
        shared_at: cut-offs of the plain measures.
        mean_chunk: None: the standard protocol, one mean over all queries. A number C: the
            original's BigEarthNet protocol, the mean over floor(Q / C) nearly equal runs of
            queries of their means.
        rerank: configs of re-rankers: ``AverageQE``, ``AlphaQE``, ``LabelAffinity`` or your own.
        pca: ``dict(dims=..., whiten=True)`` fits a PCA on the database and searches with its
            output; ``dict(path=...)`` takes a PCA of ``tools/retrieval/fit_pca.py``.
        chunk_size: queries ranked at a time; memory is about 24 bytes x this x the database.
        device: device of the ranking; None: the GPU if there is one.

    Attributes:
        retrieved: data for the pictures.
        sample_scores: after a test, a row per query, without re-ranking.
        class_scores: after a test, class -> means over the queries that have it.
        made_by: model of the embeddings, to which a PCA must have been fitted; None: unknown.

    Examples:
        >>> test_evaluator = dict(
        ...     type='MultiLabelRetrievalMetric',
        ...     rerank=[dict(type='AverageQE', k=10), dict(type='AlphaQE', k=10, alpha=3)])
    """

    default_prefix = 'retrieval'

    def __init__(
        self,
        query_fraction: float = 0.2,
        seed: int = 24,
        queries: str | Sequence[str] | None = None,
        database: str | Sequence[str] | None = None,
        thresholds: Mapping[str, float] = THRESHOLDS,
        kept_level: str = 'hard',
        at: Sequence[int] = CUTOFFS,
        shared_at: Sequence[int] = (1, 5, 10),
        mean_chunk: int | None = None,
        rerank: Sequence[dict] = (),
        pca: dict | None = None,
        chunk_size: int = 256,
        device: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        if kept_level not in thresholds:
            raise ConfigError(
                f'kept_level is {kept_level!r}; the thresholds are for {", ".join(thresholds)}.'
            )
        if database is not None and queries is None:
            raise ConfigError('database is given without queries; give both, or queries alone.')
        if not 0 < query_fraction < 1:
            raise ConfigError(f'query_fraction is {query_fraction}; it must lie between 0 and 1.')
        self.query_fraction = query_fraction
        self.seed = seed
        self.queries = queries
        self.database = database
        self.thresholds = dict(thresholds)
        self.kept_level = kept_level
        self.at = check_cutoffs('at', at)
        self.shared_at = check_cutoffs('shared_at', shared_at)
        if mean_chunk is not None and mean_chunk < 1:
            raise ConfigError(
                f'mean_chunk is {mean_chunk}; give the number of queries of a run, '
                'or None for one mean over all queries.'
            )
        self.mean_chunk = mean_chunk
        self.rerankers = [TASK_UTILS.build(config) for config in rerank]
        names = [reranker.name for reranker in self.rerankers]
        if len(set(names)) < len(names):
            raise ConfigError(
                f'rerank has two re-rankers with the same name: {names}; give them '
                'different ones by `name`.'
            )
        self.pca = dict(pca) if pca else None
        self.chunk_size = chunk_size
        self.device = device
        self.retrieved: Retrieved | None = None
        self.sample_scores: list[dict] = []
        self.class_scores: dict[str, dict[str, float]] = {}
        self.made_by: dict[str, str] | None = None

    def check_dataset(self, dataset: Any) -> None:
        """Checks before anything is embedded that the measures fit the dataset.

        Args:
            dataset: what will be measured. Where the queries are listed by name and the dataset has
                no ``names()``, the check is made when it is measured.

        Raises:
            ConfigError: a cut-off is larger than the database, or a run is larger than the number
                of queries.
            DataError: there is no query or no database, or a listed image is not in the dataset.
        """
        if hasattr(dataset, 'names'):
            names = dataset.names()
        elif self.queries is None:  # the split needs no more than their number
            names = [str(row) for row in range(len(dataset))]
        else:
            return
        queries, database = self.split(names)
        check_sizes(len(database), self.at, self.shared_at, self.mean_chunk, len(queries))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps embedding, labels and name of every sample."""
        for sample in data_samples:
            name = sample.get('name', str(sample.get('sample_idx', len(self.results))))
            if sample.get('gt_label') is None:
                raise DataError(
                    f'image {name!r} has no gt_label, which MultiLabelRetrievalMetric needs; '
                    'check the label file of this split.'
                )
            self.results.append(
                (
                    sample['embedding'].cpu().numpy(),
                    sample['gt_label'].cpu().numpy().astype(np.float32),
                    name,
                )
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Computes all figures from the collected ``(embedding, label, name)``."""
        names = [name for _, _, name in results]
        lengths = {len(label) for _, label, _ in results}
        if len(lengths) > 1:
            raise DataError(
                f'label rows of the test set differ in length: {sorted(lengths)}; '
                'check its label file.'
            )
        labels = torch.from_numpy(np.stack([label for _, label, _ in results]))
        vectors = torch.from_numpy(np.stack([vector for vector, _, _ in results]))
        check_finite(vectors, names)
        queries, database = self.split(names)
        return self.measure(vectors, labels, names, queries, database)

    def split(self, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of the queries and of the database."""
        if self.queries is None:
            queries, database = split_queries(len(names), self.query_fraction, self.seed)
        else:
            rows = {name: row for row, name in enumerate(names)}
            queries = _rows_of(self.queries, rows, 'queries')
            if self.database is None:
                database = np.setdiff1d(np.arange(len(names)), queries)
            else:
                database = _rows_of(self.database, rows, 'database')
        for what, rows in (('query set', queries), ('database', database)):
            if not len(rows):
                raise DataError(
                    f'the {what} is empty: {len(names)} images were tested; test more '
                    'images, or change query_fraction or the lists.'
                )
        return queries, database

    def measure(
        self,
        vectors: Tensor,
        labels: Tensor,
        names: list[str],
        queries: np.ndarray,
        database: np.ndarray,
    ) -> dict[str, float]:
        """Computes the figures of (N, D) vectors with (N, L) labels; rows as from :meth:`split`."""
        device = self.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        query_vectors = normalized(vectors[queries].to(device), 'queries')
        base = normalized(vectors[database].to(device), 'database')
        query_labels, base_labels = labels[queries].to(device), labels[database].to(device)
        if self.pca is not None:
            if 'path' in self.pca:
                pca = PCA.load(self.pca['path'], self.made_by)
            else:
                pca = PCA.fit(base, **self.pca)
            query_vectors, base = pca.to(device)(query_vectors), pca.to(device)(base)
        args: dict[str, Any] = dict(
            thresholds=self.thresholds,
            at=self.at,
            shared_at=self.shared_at,
            chunk_size=self.chunk_size,
        )
        keep = max([100, *(reranker.k for reranker in self.rerankers)])
        plain = evaluate(
            CosineScores(query_vectors, base), query_labels, base_labels, keep=keep, **args
        )
        self._log(plain)
        self.retrieved = Retrieved(
            queries, database[plain.positions.numpy()], plain.scores.numpy(), names, labels.numpy()
        )
        self._keep_by_query(plain, names, labels, queries)
        result = plain.mean(self.kept_level, self.mean_chunk)
        for reranker in self.rerankers:
            scores = reranker(
                query_vectors,
                base,
                base_labels,
                plain.positions.to(device),
                plain.scores.to(device),
            )
            again = evaluate(scores, query_labels, base_labels, keep=1, **args)
            means = again.mean(self.kept_level, self.mean_chunk)
            result.update({f'{reranker.name}/{key}': value for key, value in means.items()})
        return result

    def _keep_by_query(self, plain, names, labels, queries):
        """Returns a row per query, and means over the queries that have a class."""
        values = {key: column for key, column in plain.values.items() if key in _BY_QUERY}
        for key in values:
            level = key.partition('_')[2]
            if level:
                values[key] = np.where(plain.matches[level] > 0, values[key], np.nan)
        asked = unique_names([names[row] for row in queries])
        self.sample_scores = [
            dict(
                sample=name,
                row=int(row),
                **{key: float(column[place]) for key, column in values.items()},
            )
            for place, (name, row) in enumerate(zip(asked, queries))
        ]
        classes = (self.dataset_meta or {}).get('classes')
        of_query = labels[torch.as_tensor(queries)].numpy() > 0
        self.class_scores = {}
        for number in range(of_query.shape[1]):
            own = of_query[:, number]
            means = {
                key: float(np.nanmean(column[own])) if np.isfinite(column[own]).any() else np.nan
                for key, column in values.items()
            }
            name = classes[number] if classes else f'class_{number}'
            self.class_scores[name] = dict(means, queries=int(own.sum()))

    def _log(self, plain):
        matches = plain.matches[self.kept_level]
        MMLogger.get_current_instance().info(
            f'retrieval: {len(matches)} queries; {int((matches == 0).sum())} have no match at '
            f'level {self.kept_level!r} and are left out of mAP and P@10, '
            f'{int((plain.matches["shared"] == 0).sum())} share no label with any image.'
        )


def _rows_of(names, rows, what):
    if isinstance(names, str):
        if not Path(names).is_file():
            raise MissingFileError(f'{what}: there is no file {names}.')
        names = read_names(names)
    check_unique(names, what)
    lost = [name for name in names if name not in rows]
    if lost:
        raise DataError(
            f'{what}: {lost[0]!r} is not an image of the test set ({len(lost)} of '
            f'{len(names)} names are not).'
        )
    return np.array([rows[name] for name in names], dtype=np.int64)


MultiLabelRetrieval = MultiLabelRetrievalMetric  # its name until version 0.1
