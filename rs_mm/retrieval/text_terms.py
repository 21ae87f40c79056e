"""Combinations of texts: weighted terms, negative terms, and prompt templates for class names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rs_mm.errors import ConfigError, DataError

#: weight of negative terms
WITHOUT = -0.5
#: prompts for class names of overhead images; ``{}`` is the name
TEMPLATES = (
    'a satellite image of {}.',
    'an aerial image of {}.',
    'an overhead view of {}.',
    'a remote sensing image of {}.',
    'a satellite photo of {}.',
)


class Term(NamedTuple):
    """A text and its weight; a negative weight means that images must not show it."""

    text: str
    weight: float = 1.0


def read_terms(
    text: str | None = None, more: Sequence[str] = (), without: Sequence[str] = ()
) -> list[Term]:
    """Reads the terms of a query.

    Args:
        text: the main text. The part after "but without" is a negative term.
        more: further terms as ``TEXT=WEIGHT``; a weight may be negative.
        without: texts of what images must not show.

    Returns: The terms; empty without any text.

    Raises:
        ConfigError: a weight is not a finite number, or all terms are negative.

    Example:
        >>> read_terms('a harbor but without boats', more=['sand=0.3'])
        [Term('a harbor', 1.0), Term('boats', -0.5), Term('sand', 0.3)]
    """
    terms = []
    if text and text.strip():
        wanted, *unwanted = re.split(r',?\s+but without\s+', text.strip())
        terms = [Term(wanted), *(Term(part, WITHOUT) for part in unwanted)]
    for term in more:
        name, sign, weight = term.rpartition('=')
        try:
            terms.append(Term(name.strip(), float(weight)))
        except ValueError:
            name = ''
        if not sign or not name.strip() or not math.isfinite(terms[-1].weight):
            raise ConfigError(f'the term "{term}" is not of the form TEXT=WEIGHT, as "boats=0.5".')
    terms += [Term(part.strip(), WITHOUT) for part in without if part.strip()]
    if terms and not any(term.weight > 0 for term in terms):
        raise ConfigError('the query has only negative terms; add a text of what images must show.')
    return terms


def encode_terms(terms: Sequence[Term], encode: Callable[[list[str]], Tensor]) -> Tensor:
    """Computes one feature ``(D,)`` of length 1 for weighted terms.

    Args:
        terms: one or more.
        encode: texts -> ``(T, D)`` features of length 1.

    Raises:
        DataError: the terms cancel each other out.
    """
    features = encode([term.text for term in terms])
    if len(terms) == 1:
        return features[0]
    weights = torch.tensor([term.weight for term in terms]).to(features)
    total = weights @ features
    if float(total.norm()) < 1e-6:
        raise DataError('the terms of the query cancel each other out; change their weights.')
    return F.normalize(total, dim=0)


def class_features(
    names: Sequence[str],
    encode: Callable[[list[str]], Tensor],
    templates: Sequence[str] = TEMPLATES,
) -> Tensor:
    """Computes features ``(C, D)`` of length 1 of class names, for labels without training.

    Each is the normalised mean of the features of a name in every template (Radford et al.,
    Learning transferable visual models from natural language supervision, ICML 2021, 3.1.4).

    Args:
        names: C class names.
        encode: texts -> ``(T, D)`` features of length 1.
        templates: prompts with ``{}`` in place of the name.

    Raises:
        ConfigError: there is no name, or a template has no ``{}``.
    """
    bad = next((template for template in templates if '{}' not in template), None)
    if bad is not None or not templates:
        raise ConfigError(f'the template {bad!r} has no {{}} for the name of the class.')
    if not names:
        raise ConfigError('give at least one class name.')
    means = [encode([part.replace('{}', name) for part in templates]).mean(0) for name in names]
    return F.normalize(torch.stack(means), dim=1)
