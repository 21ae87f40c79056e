"""How the similarities to a query's image and to its text become one score.

A fusion takes two arrays of similarities, ``(..., N)`` float over the N images of the archive, and
gives scores of the same shape: the higher, the better. Rows are queries; any number of leading
dimensions goes. A new fusion is a subclass with one method, marked by ``@part``.
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
        similarity: ``(..., N)`` float. Mean and (unbiased) deviation are those of the
            last dimension, that is of one query over the archive.

    Returns:
        Same shape and dtype. In float32 values beyond 5 deviations are exactly 0 or 1. An
        archive whose similarities are all the same gives 0.5.
    """
    if similarity.shape[-1] == 1:  # one image has no deviation
        return torch.full_like(similarity, 0.5)
    # torch.std_mean takes ten times as long along a row
    centred = similarity - similarity.mean(-1, keepdim=True)
    std = (centred.square().sum(-1, keepdim=True) / (centred.shape[-1] - 1)).sqrt()
    std = torch.where(std > 0, std, torch.ones_like(std))
    return centred.div_(std * math.sqrt(2)).erf_().add_(1).mul_(0.5)


class Queries(NamedTuple):
    """Queries as products with the archive: similarity = archive @ vector + offset.

    ``vectors`` is ``(B, D)`` float32, ``offsets`` is ``(B,)`` float32.
    """

    vectors: Tensor
    offsets: Tensor


#: (vectors (B, D), k) -> features (B, k, D) of the k archive images with the largest products
Neighbours = Callable[[Tensor, int], Tensor]


class Fusion:
    """Base of all fusions.

    Args:
        normalize: map both similarities by :func:`normal_cdf` first.
    """

    title = ''
    #: whether queries are changed before they meet the archive; see :meth:`image_queries`
    transforms_queries = False
    #: whether a larger similarity never means a lower score
    monotone = False
    #: what :meth:`fit` has learnt of an archive
    fitted: Any = None
    #: what the scores depend on; those of one modality are ranked once for all pairs that share it
    modalities: tuple[str, ...] = ('image', 'text')

    def __init__(self, normalize: bool = False) -> None:
        self.normalize = normalize

    @property
    def name(self) -> str:
        return self.title + (', normalised' if self.normalize else '')

    def fit(self, mean: Tensor, sample: Tensor, encode_text: Callable | None = None) -> None:
        """Takes what the fusion needs to know of an archive; most need nothing.

        Args:
            mean: ``(D,)`` mean of the archive's features.
            sample: ``(S, D)`` features of images spread over the archive.
            encode_text: texts -> ``(T, D)`` features of length 1.
        """

    def encode_texts(self, texts: Sequence[str], encode_text: Callable) -> Tensor:
        """Features ``(T, D)`` of the texts that are asked with."""
        return encode_text(list(texts))

    def image_queries(self, features: Tensor, neighbours: Neighbours) -> Queries:
        """What the archive is multiplied with to compare it with query images ``(B, D)``."""
        return Queries(features, features.new_zeros(len(features)))

    def text_queries(self, features: Tensor) -> Queries:
        """What the archive is multiplied with to compare it with query texts ``(B, D)``."""
        return Queries(features, features.new_zeros(len(features)))

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        """Scores from two similarities that are already normalised where that is wanted."""
        raise NotImplementedError

    def bound(self, image: Tensor, text: Tensor) -> Tensor:
        """The highest score of any similarities that exceed neither of these two.

        An index proves by it that no image it has not looked at belongs to the best ones.
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
    """The query's image alone."""

    title = 'Image only'
    monotone = True
    modalities = ('image',)

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        return image


@part
class TextOnly(Fusion):
    """The query's text alone."""

    title = 'Text only'
    monotone = True
    modalities = ('text',)

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        return text


@part
class SumFusion(Fusion):
    """The sum of the two, which ranks as their mean does; its score is that of published tables."""

    title = 'Sum'
    monotone = True

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        return image + text


@part
class AverageFusion(Fusion):
    """The mean of the two, which ranks as their sum does."""

    title = 'Average'
    monotone = True

    def fuse(self, image: Tensor, text: Tensor) -> Tensor:
        return (image + text) / 2


@part
class ProductFusion(Fusion):
    """The product of the two.

    Args:
        clamp: take a negative similarity as 0, so that two unlike ones are no match; the
            published ``product`` of BASIC does.
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
    """The smaller of the two: an image must resemble both.

    Args:
        published: what the official code does under this name, which would fit distances:
            it ranks by the *larger* similarity, the least similar image first.
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
    """``(1 - lam) * image + lam * text``.

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
