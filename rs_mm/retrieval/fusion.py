"""Fusions, which turn the similarities to a query's image and to its text into one score.

A fusion takes two arrays of similarities, ``(..., N)`` float over the N images of the archive, and
returns scores of the same shape; higher is better. Rows are queries; any number of leading
dimensions is allowed. A new fusion is a subclass with one method, marked by ``@part``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rs_mm.errors import ConfigError

from .parts import part


def normal_cdf(similarity: Tensor) -> Tensor:
    """Maps similarities to (0, 1) by the normal CDF of their own mean and deviation.

    Source: WeiCom (Psomas et al., IGARSS 2024), Sec. 3. Text and image similarities have different
    ranges in CLIP's space; afterwards both are close to uniform over the archive.

    Args:
        similarity: ``(..., N)`` float. Mean and (unbiased) deviation are computed over the last
            dimension, that is over the archive for each query.

    Returns:
        Same shape and dtype. In float32 values beyond 5 deviations are exactly 0 or 1. An
        archive whose similarities are all the same gives 0.5.
    """
    if similarity.shape[-1] == 1:  # a single image has no deviation
        return torch.full_like(similarity, 0.5)
    # torch.std_mean takes ten times as long along a row
    centred = similarity - similarity.mean(-1, keepdim=True)
    std = (centred.square().sum(-1, keepdim=True) / (centred.shape[-1] - 1)).sqrt()
    std = torch.where(std > 0, std, torch.ones_like(std))
    return centred.div_(std * math.sqrt(2)).erf_().add_(1).mul_(0.5)


class Queries(NamedTuple):
    """Queries in the form similarity = archive @ vector + offset.

    ``vectors`` is ``(B, D)`` float32, ``offsets`` is ``(B,)`` float32.
    """

    vectors: Tensor
    offsets: Tensor


#: (vectors (B, D), k) -> features (B, k, D) of the k archive images with the largest products
Neighbours = Callable[[Tensor, int], Tensor]


class Fusion:
    """The base of all fusions.

    Args:
        normalize: map both similarities by :func:`normal_cdf` first.
    """

    title = ''
    #: whether queries are changed before the product with the archive; see :meth:`image_queries`
    transforms_queries = False
    #: whether a larger similarity never means a lower score
    monotone = False
    #: statistics of an archive from :meth:`fit`
    fitted: Any = None
    #: modalities that the scores depend on; with one modality, pairs that share it are ranked once
    modalities: tuple[str, ...] = ('image', 'text')

    def __init__(self, normalize: bool = False) -> None:
        self.normalize = normalize

    @property
    def name(self) -> str:
        return self.title + (', normalised' if self.normalize else '')

    def fit(self, mean: Tensor, sample: Tensor, encode_text: Callable | None = None) -> None:
        """Computes the statistics of an archive that the fusion needs; most fusions need none.

        Args:
            mean: ``(D,)`` mean of the archive's features.
            sample: ``(S, D)`` features of images spread over the archive.
            encode_text: texts -> ``(T, D)`` features of length 1.
        """

    def encode_texts(self, texts: Sequence[str], encode_text: Callable) -> Tensor:
        """Returns features ``(T, D)`` of query texts."""
        return encode_text(list(texts))

    def image_queries(self, features: Tensor, neighbours: Neighbours) -> Queries:
        """Returns the factors that compare the archive with query images ``(B, D)``."""
        return Queries(features, features.new_zeros(len(features)))

    def text_queries(self, features: Tensor) -> Queries:
        """Returns the factors that compare the archive with query texts ``(B, D)``."""
        return Queries(features, features.new_zeros(len(features)))

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        """Returns scores of two similarities, which are already normalised if ``normalize`` is
        set."""
        raise NotImplementedError

    def bound(self, image: Tensor, text: Tensor) -> Tensor:
        """Returns the highest score of similarities that are not larger than these two.

        With this bound, an index proves that no image outside its candidates belongs to the best.
        """
        if not self.monotone:
            return torch.full_like(image, torch.inf)
        return self.fuse(image, text)

    def __call__(self, image: Tensor, text: Tensor) -> Tensor:
        if self.normalize:
            image, text = normal_cdf(image), normal_cdf(text)
        return self.fuse(image, text)


@part
class ImageOnly(Fusion):
    """The similarity to the query's image."""

    title = 'Image only'
    monotone = True
    modalities = ('image',)

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        return image


@part
class TextOnly(Fusion):
    """The similarity to the query's text."""

    title = 'Text only'
    monotone = True
    modalities = ('text',)

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        return text


@part
class SumFusion(Fusion):
    """The sum of the two similarities; it has the order of the mean, and published tables use
    it."""

    title = 'Sum'
    monotone = True

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        return image + text


@part
class AverageFusion(Fusion):
    """The mean of the two similarities, with the same order as their sum."""

    title = 'Average'
    monotone = True

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        return (image + text) / 2


@part
class ProductFusion(Fusion):
    """The product of the two similarities.

    Args:
        clamp: take a negative similarity as 0, as the published ``product`` of BASIC does;
            otherwise two negative similarities would have a positive product.
        normalize: map both similarities by :func:`normal_cdf` first.
    """

    title = 'Product'

    def __init__(self, clamp: bool = False, normalize: bool = False) -> None:
        super().__init__(normalize)
        self.clamp = clamp
        self.monotone = clamp or normalize  # two negative similarities have a positive product

    @property
    def name(self) -> str:
        return super().name + (', clamped' if self.clamp else '')

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        if self.clamp:
            image, text = image.clamp(min=0), text.clamp(min=0)
        return image * text


@part
class MinimumFusion(Fusion):
    """The smaller of the two similarities: an image must be similar to both.

    Args:
        published: do as the official code does under this name: rank by the *larger* similarity,
            with the least similar image first (this would be right for distances).
    """

    title = 'Minimum'

    def __init__(self, published: bool = False, normalize: bool = False) -> None:
        super().__init__(normalize)
        self.published = published
        self.monotone = not published

    @property
    def name(self) -> str:
        return super().name + (', as published' if self.published else '')

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        return -torch.maximum(image, text) if self.published else torch.minimum(image, text)


@part
class WeightedFusion(Fusion):
    """The weighted mean ``(1 - lam) * image + lam * text``.

    Args:
        lam: share of the text, in [0, 1].
    """

    title = 'Weighted'
    monotone = True

    def __init__(self, lam: float = 0.5, normalize: bool = False) -> None:
        super().__init__(normalize)
        if not 0 <= lam <= 1:
            raise ConfigError(f'lambda is the share of the text and lies in [0, 1]; got {lam}.')
        self.lam = lam

    @property
    def name(self) -> str:
        return f'{super().name}, lambda {self.lam:g}'

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        return (1 - self.lam) * image + self.lam * text


@part
class WeiCom(WeightedFusion):
    """The weighted mean of normalised similarities (WeiCom, IGARSS 2024, Sec. 3).

    Args:
        lam: share of the text, in [0, 1]. Published: 0.5; best on PatternCom 0.3 with CLIP
            and 0.6 with RemoteCLIP.
    """

    title = 'WeiCom'

    def __init__(self, lam: float = 0.5) -> None:
        super().__init__(lam, normalize=True)

    @property
    def name(self) -> str:
        return f'{self.title}, lambda {self.lam:g}'
