"""BASIC: training-free composed retrieval by centring, projection and a fusion of products.

Source: Psomas et al., Instance-Level Composed Image Retrieval, NeurIPS 2025, arXiv 2510.25387.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rs_mm.arrays import load_array
from rs_mm.errors import ConfigError, DataError, MissingFileError

from .fusion import Fusion, Neighbours, Queries
from .parts import part
from .text_corpus import STYLES, SUBJECTS, read_corpus

CONTEXT_SUBJECTS = 100  # number of subjects that a text is combined with
EXPANSION = 25  # images that a query image is averaged with
TEMPERATURE = 0.1  # of the weights of that average


class Minima(NamedTuple):
    """The minimal similarity between two images, and between an image and a text."""

    image: float
    text: float


@part
class BASIC(Fusion):
    """A fusion by the product of two normalised similarities, reduced if they differ (arXiv
    2510.25387).

    The defaults are the published preset; every step can be switched off. The published figures
    used other lists of phrases and the mean of a million web images. The defaults here are the
    lists of rs_mm (:mod:`rs_mm.retrieval.text_corpus`), and the mean and minima of the archive.

    Args:
        centre: subtract the image mean from images, and the mean of ``subjects`` from texts.
        project: project a query image to the directions that vary among subjects and not among
            styles.
        query_expansion: average a query image with its 25 most similar images.
        normalise: shift both similarities by their minima and divide both by the minimum of the
            images.
        contextualise: replace the feature of a text by the mean feature of "SUBJECT TEXT" and "TEXT
            SUBJECT" over the first 100 subjects.
        negative_weight: share of the styles in the projection, in [0, 1].
        components: largest number of directions that the projection keeps.
        harris_lambda: k in ``text * image - k * (text + image) ** 2``, 0 or more; 0 is the product.
        subjects: CSV of phrases of what images show; see :func:`read_corpus`.
        styles: CSV of phrases of how images look.
        image_mean: ``.npy`` file of the (D,) mean to subtract. Default: the mean of the archive.
        minima: minimal image-image and text-image similarity of centred features. Default: computed
            from a sample of the archive and from the subjects.

    Raises:
        ConfigError: a value is outside its range.
    """

    title = 'BASIC'
    transforms_queries = True

    def __init__(
        self,
        centre: bool = True,
        project: bool = True,
        query_expansion: bool = True,
        normalise: bool = True,
        contextualise: bool = True,
        negative_weight: float = 0.2,
        components: int = 250,
        harris_lambda: float = 0.1,
        subjects: str | Path = SUBJECTS,
        styles: str | Path = STYLES,
        image_mean: str | Path | None = None,
        minima: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= negative_weight <= 1:
            raise ConfigError(
                f'BASIC: negative_weight is the share of the styles and lies in [0, 1]; '
                f'got {negative_weight}.'
            )
        if components < 1:
            raise ConfigError(f'BASIC: components is {components}; keep at least one direction.')
        if not harris_lambda >= 0:
            raise ConfigError(f'BASIC: harris_lambda is {harris_lambda}; it is 0 or more.')
        if minima is not None and (len(minima) != 2 or minima[0] == 0):
            raise ConfigError(
                f'BASIC: minima={tuple(minima)}; give two values, the first of which divides and '
                'is not 0.'
            )
        self.centre, self.project = centre, project
        self.query_expansion, self.normalise = query_expansion, normalise
        self.contextualise, self.negative_weight = contextualise, negative_weight
        self.components, self.harris_lambda = components, harris_lambda
        self.subjects, self.styles = subjects, styles
        self.image_mean, self.given_minima = image_mean, minima
        self.fitted: Statistics | None = None

    @property
    def name(self) -> str:
        steps = dict(
            centring=self.centre,
            projection=self.project,
            expansion=self.query_expansion,
            normalisation=self.normalise,
            context=self.contextualise,
        )
        off = [step for step, on in steps.items() if not on]
        name = self.title + (f' without {" and ".join(off)}' if off else '')
        preset = dict(negative_weight=0.2, components=250, harris_lambda=0.1)
        own = {key: getattr(self, key) for key in preset if getattr(self, key) != preset[key]}
        return name + ''.join(f', {key} {value:g}' for key, value in own.items())

    def fit(self, mean: Tensor, sample: Tensor, encode_text: Callable | None = None) -> None:
        """Computes mean, minima and projection for an archive; see :meth:`Fusion.fit`."""
        subjects = encode_text(read_corpus(self.subjects))
        self.fitted = Statistics.of(
            self,
            self._mean(mean),
            subjects,
            encode_text(read_corpus(self.styles)),
            sample,
            subjects,
        )

    def _mean(self, own):
        if self.image_mean is None:
            return own
        if not Path(self.image_mean).is_file():
            raise MissingFileError(f'BASIC: there is no image mean {self.image_mean}.')
        mean = load_array(self.image_mean)
        if mean.size != own.numel() or not np.isfinite(mean).all():
            raise DataError(
                f'{self.image_mean} holds {mean.size} values, the features have {own.numel()}; '
                'the mean must come from the same model, and be finite.'
            )
        return torch.from_numpy(mean.reshape(-1)).to(own)

    def encode_texts(self, texts: Sequence[str], encode_text: Callable) -> Tensor:
        """Returns contextualised features of texts, ``(T, D)`` of length 1."""
        if not self.contextualise:
            return encode_text(list(texts))
        subjects = read_corpus(self.subjects)[:CONTEXT_SUBJECTS]
        means = [
            encode_text([f'{s} {text}' for s in subjects] + [f'{text} {s}' for s in subjects]).mean(
                0
            )
            for text in texts
        ]
        return F.normalize(torch.stack(means), dim=1)

    def image_queries(self, features: Tensor, neighbours: Neighbours) -> Queries:
        """Returns centred, projected, expanded and scaled queries; see
        :meth:`Fusion.image_queries`."""
        known = self._known
        centred = features - known.image_mean
        projected = centred @ known.projection
        if self.query_expansion:
            near = neighbours(projected, EXPANSION) - known.image_mean
            similarity = torch.einsum('bkd,bd->bk', near, projected)
            similarity = torch.cat([similarity, similarity.new_ones(len(near), 1)], 1)
            weights = (TEMPERATURE * similarity).softmax(1)
            mean = torch.einsum('bk,bkd->bd', weights, torch.cat([near, centred[:, None]], 1))
            projected = mean @ known.projection
        return self._scaled(projected, known.minima.image)

    def text_queries(self, features: Tensor) -> Queries:
        """Returns centred and scaled queries; see :meth:`Fusion.text_queries`."""
        return self._scaled(features - self._known.text_mean, self._known.minima.text)

    def _scaled(self, queries, minimum):
        """Writes (q . (x - mean) - minimum) / |image minimum| as a product with x and an offset."""
        known = self._known
        offsets = -queries @ known.image_mean
        if not self.normalise:
            return Queries(queries, offsets)
        scale = abs(known.minima.image)
        return Queries(queries / scale, (offsets - minimum) / scale)

    @property
    def _known(self) -> Statistics:
        if self.fitted is None:
            raise ConfigError('BASIC needs statistics of the archive: call fit() first.')
        return self.fitted

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        image, text = image.clamp(min=0), text.clamp(min=0)
        return text * image - self.harris_lambda * (text + image) ** 2

    def bound(self, image: Tensor, text: Tensor) -> Tensor:
        """Returns an upper bound of the score; see :meth:`Fusion.bound`.

        The score is a quadratic form, concave in each similarity: for a given text it is highest at
        ``image = text (1 - 2k) / 2k``. A positive score grows along the ray from the origin. So the
        maximum over a box lies on one of its two upper edges, or is 0.
        """
        image, text = image.clamp(min=0), text.clamp(min=0)
        if not self.harris_lambda:
            return text * image
        peak = max(0.0, (1 - 2 * self.harris_lambda) / (2 * self.harris_lambda))
        edges = (
            self.fuse(image, torch.minimum(text, peak * image)),
            self.fuse(torch.minimum(image, peak * text), text),
        )
        return torch.maximum(*edges).clamp(min=0)


class Statistics(NamedTuple):
    """The statistics of an archive and of the lists of phrases that BASIC uses."""

    image_mean: Tensor
    text_mean: Tensor
    projection: Tensor
    components: int
    minima: Minima

    @classmethod
    def of(
        cls,
        method: BASIC,
        image_mean: Tensor,
        subjects: Tensor,
        styles: Tensor,
        images: Tensor,
        texts: Tensor,
    ) -> Statistics:
        """Computes the statistics.

        Args:
            method: the options of BASIC.
            image_mean: ``(D,)``.
            subjects: ``(P, D)`` features of the positive list, of length 1.
            styles: ``(M, D)`` features of the negative list.
            images: ``(S, D)`` features from which the minima are taken.
            texts: ``(T, D)`` features of texts for the minima.
        """
        text_mean = subjects.mean(0)
        if not method.centre:
            image_mean, text_mean = torch.zeros_like(image_mean), torch.zeros_like(text_mean)
        projection, components = torch.eye(len(image_mean)).to(subjects), len(image_mean)
        if method.project:
            projection, components = contrastive_projection(
                subjects - text_mean,
                styles - text_mean,
                method.negative_weight,
                method.components,
            )
        minima = method.given_minima
        if minima is None and method.normalise:
            images, texts = images - image_mean, texts - text_mean
            minima = (float((images @ images.T).min()), float((texts @ images.T).min()))
            if minima[0] == 0:
                raise DataError(
                    'BASIC: the least similarity of two images is 0, so that there is nothing to '
                    'normalise by; give minima, or set normalise=False.'
                )
        return cls(image_mean, text_mean, projection, components, Minima(*(minima or (0, 0))))


def contrastive_projection(
    positive: Tensor, negative: Tensor, negative_weight: float, components: int
) -> tuple[Tensor, int]:
    """Computes a projection to directions that vary in one set and not in another (arXiv
    2510.25387).

    Args:
        positive: ``(P, D)`` centred.
        negative: ``(M, D)`` centred by the same mean.
        negative_weight: share of the negative set.
        components: largest number of directions to keep; only directions with a positive eigenvalue
            are kept.

    Returns:
        The projection ``(D, D)`` in the dtype of ``positive``, and the number of directions kept.
    """
    spread = [part.double().T @ part.double() / (len(part) - 1) for part in (positive, negative)]
    # as published, the constant is added to every entry, not only to the diagonal
    contrast = (1 - negative_weight) * spread[0] - negative_weight * spread[1] + 1e-5
    values, vectors = torch.linalg.eigh(contrast)
    # directions that occur in neither set are zero except for rounding
    kept = min(components, int((values > 1e-12 * values.abs().max()).sum()))
    chosen = vectors[:, len(values) - kept :]
    return (chosen @ chosen.T).to(positive), kept
