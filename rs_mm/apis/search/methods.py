"""Methods of composed search by name, for commands and the page."""

from __future__ import annotations

from rs_mm.errors import ConfigError, suggest
from rs_mm.retrieval.basic import BASIC
from rs_mm.retrieval.fusion import (
    AverageFusion,
    Fusion,
    ImageOnly,
    MinimumFusion,
    ProductFusion,
    SumFusion,
    TextOnly,
    WeiCom,
)

METHODS = ('weicom', 'basic', 'sum', 'average', 'product', 'minimum')


def fusion_of(image: bool, text: bool, method: str | Fusion = 'weicom', lam: float = 0.5) -> Fusion:
    """Returns the fusion for a query.

    Args:
        image: whether there is a query image.
        text: whether there is a query text.
        method: how the two similarities become one score: one of :data:`METHODS`, or a fusion.
        lam: share of the text in [0, 1], for ``weicom``.

    Raises:
        ConfigError: there is neither image nor text, the method is unknown, or lambda is outside
            [0, 1].
    """
    named = dict(
        weicom=lambda: WeiCom(lam),
        basic=BASIC,
        sum=SumFusion,
        average=AverageFusion,
        product=lambda: ProductFusion(clamp=True),
        minimum=MinimumFusion,
    )
    if not isinstance(method, Fusion) and method not in named:
        raise ConfigError(
            f'there is no search method {method!r}{suggest(str(method), METHODS)}'
            f' (methods: {", ".join(METHODS)}).'
        )
    WeiCom(lam)  # lambda is always checked
    if not image and not text:
        raise ConfigError('give an image, a text, or both to search by.')
    if not text:
        return ImageOnly()
    if not image:
        return TextOnly()
    return method if isinstance(method, Fusion) else named[method]()
