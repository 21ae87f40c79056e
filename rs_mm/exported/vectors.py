"""Embeddings, labels and rankings with exported embedders and towers."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import ConfigError, DataError
from rs_mm.files import atomic_write

from .images import prepare
from .model import ExportedModel
from .tokens import Tokenizer

_AT_ONCE = 16  # images per pass; more are not faster on a CPU
_QUERIES = 512  # rows of distances to a memory at a time


class VectorRunner:
    """A runner that embeds images (and texts), labels them, and ranks an archive.

    Args:
        model: an export of the task ``embedding`` or ``retrieval``.
    """

    def __init__(self, model: ExportedModel) -> None:
        self.model = model
        self._graph = 'image' if model.task == 'retrieval' else 'model'
        self._input = list(model.info['graphs'][self._graph]['inputs'])[0]
        self._tokenizer: Tokenizer | None = None

    def embed(
        self, images: Sequence[str | Path | np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns vectors of length 1, (N, D) float32, and the classifier's scores (N, L) or
        None."""
        parts = []
        for start in range(0, len(images), _AT_ONCE):
            batch = [prepare(i, self.model.info['steps']) for i in images[start : start + _AT_ONCE]]
            alone = self.model.info.get('batch') == 1 or len({i.shape for i in batch}) > 1
            groups = [image[None] for image in batch] if alone else [np.stack(batch)]
            parts += [self.model.run(self._graph, **{self._input: group}) for group in groups]
        found = [np.concatenate(outputs) for outputs in zip(*parts)]
        if not np.isfinite(found[0]).all():
            raise DataError('an embedding is NaN or infinite; is the exported model damaged?')
        return found[0], found[1] if len(found) > 1 else None

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Returns vectors of length 1 of texts, (N, D) float32.

        Raises:
            ConfigError: the model takes no text.
        """
        if self.model.task != 'retrieval':
            raise ConfigError(f'{self.model.folder} is a model of images; it takes no text.')
        if self._tokenizer is None:
            known = self.model.info['tokenizer']
            self._tokenizer = Tokenizer(self.model.folder / known['file'], known['length'])
        return self.model.run('text', tokens=self._tokenizer(list(texts)))[0]

    def labels(self, images: Sequence[str | Path | np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the probability of every class and the found classes, both (N, L).

        Raises:
            ConfigError: the model has neither a classifier nor a memory.
        """
        return self.labels_of(*self.embed(images))

    def labels_of(
        self, vectors: np.ndarray, scores: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the same from the results of :meth:`embed`."""
        known = self.model.info.get('labels')
        if not known:
            raise ConfigError(f'{self.model.folder} has no classifier and no labelled memory.')
        if known['method'] == 'knn':
            memory = self.model.array('memory'), self.model.array('memory_labels')
            scores = nearest_labels(vectors, *memory, known['k'])
        thresholds = known.get('thresholds')
        if thresholds is not None:
            return scores, scores >= np.asarray(thresholds)
        return scores, scores > 0.5 if known['method'] == 'knn' else scores >= 0.5

    def rank(
        self,
        archive: np.ndarray,
        image: str | Path | np.ndarray | None = None,
        text: str | None = None,
        lam: float = 0.5,
        k: int = 10,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ranks the vectors of an archive for an image, a text, or both (WeiCom).

        Args:
            archive: (N, D) from :meth:`embed`.
            image, text: the query.
            lam: share of the text if both are given, 0 to 1.
            k: number of results.

        Returns:
            Their rows and scores, best first.
        """
        text = (text or '').strip()
        if image is None and not text:
            raise ConfigError('give an image, a text, or both to search by.')
        found = []
        if image is not None:
            found.append(archive @ self.embed([image])[0][0])
        if text:
            found.append(archive @ self.embed_texts([text])[0])
        scores = found[0]
        if len(found) == 2:
            scores = (1 - lam) * normal_cdf(found[0]) + lam * normal_cdf(found[1])
        order = np.argsort(-scores, kind='stable')[:k]
        return order, scores[order]


def normal_cdf(similarity: np.ndarray) -> np.ndarray:
    """Maps similarities (N,) to (0, 1) by the normal CDF with their mean and deviation."""
    if len(similarity) == 1:
        return np.full_like(similarity, 0.5)
    centred = similarity - similarity.mean()
    std = math.sqrt(np.square(centred).sum() / (len(centred) - 1)) or 1.0
    erf = np.vectorize(math.erf, otypes=[np.float64])
    return ((1 + erf(centred / (std * math.sqrt(2)))) / 2).astype(similarity.dtype)


def nearest_labels(
    queries: np.ndarray, memory: np.ndarray, labels: np.ndarray, k: int
) -> np.ndarray:
    """Returns, for each label, its share of the weights 1 / distance of the k nearest neighbours.

    If a neighbour is at distance 0, only neighbours at distance 0 count.

    Args:
        queries: (Q, D).
        memory: (N, D).
        labels: (N, L) of 0 and 1.
        k: neighbours.

    Returns:
        (Q, L) float64.
    """
    found = []
    memory = memory.astype(np.float64)
    squares = np.square(memory).sum(1)
    for start in range(0, len(queries), _QUERIES):
        part = queries[start : start + _QUERIES].astype(np.float64)
        near = np.argpartition(squares - 2 * part @ memory.T, min(k + 8, len(memory)) - 1, axis=1)
        near = near[:, : k + 8]
        exact = np.square(memory[near] - part[:, None]).sum(2)
        order = np.argsort(exact, axis=1, kind='stable')[:, :k]
        distances = np.sqrt(np.take_along_axis(exact, order, 1))
        zero = distances == 0
        with np.errstate(divide='ignore'):
            weights = np.where(zero.any(1, keepdims=True), zero, 1 / distances)[..., None]
        present = labels[np.take_along_axis(near, order, 1)].astype(np.float64)
        found.append((weights * present).sum(1) / weights.sum(1))
    return np.concatenate(found)


def write_labels(
    path: Path, names: Sequence[str], classes: Sequence[str], scores: np.ndarray, found: np.ndarray
) -> None:
    """Writes a CSV with a row per image: name, found labels, probability of each class."""
    with atomic_write(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['image', 'labels', *classes])
        for name, row, present in zip(names, scores, found):
            labels = ';'.join(c for c, there in zip(classes, present) if there)
            writer.writerow([name, labels, *(f'{value:.6g}' for value in row)])


def write_ranking(path: Path, names: Sequence[str], rows: np.ndarray, scores: np.ndarray) -> None:
    """Writes a CSV with a row per found image: rank from 1, image, score."""
    with atomic_write(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['rank', 'image', 'score'])
        writer.writerows(
            [i, names[row], f'{score:.6f}'] for i, (row, score) in enumerate(zip(rows, scores), 1)
        )
