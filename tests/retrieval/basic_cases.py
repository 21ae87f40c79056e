"""The recorded BASIC cases: features made from their names, and the method with their options."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from rs_mm.retrieval.basic import BASIC, Statistics
from tests import fill


def features(settings):
    """Every set of features of a case, by name."""
    prefix, dim = settings['prefix'], settings['dim']

    def normal(name, shape):
        return torch.from_numpy(fill.normal(f'{prefix}/{name}', shape)).double()

    basis = normal('basis', (dim, dim)) / dim**0.5
    cones = {kind: normal(f'{kind}_cone', (1, dim)) for kind in ('image', 'text')}

    def made(what, count, kind):
        spread = 1.5 if kind == 'image' else 1.2
        return F.normalize(normal(what, (count, dim)) @ basis + spread * cones[kind]).float()

    samples = settings['normalisation_samples']
    sets = dict(
        database=made('database', settings['database'], 'image'),
        query=made('query', settings['queries'], 'image'),
        norm_image=made('norm_image', samples, 'image'),
        text=made('text', settings['queries'], 'text'),
        subjects=made('subjects', settings['subjects'], 'text'),
        styles=made('styles', settings['styles'], 'text'),
        norm_text=made('norm_text', samples, 'text'),
    )
    sets['mean'] = (0.8 * F.normalize(cones['image'])[0]).float()
    if not settings['given_image_mean']:
        sets['mean'] = sets['database'].mean(0)
    return sets


def method(settings, sets):
    """BASIC with the options and the statistics of a case."""
    keys = ('centre', 'project', 'query_expansion', 'normalise')
    keys += ('negative_weight', 'components', 'harris_lambda')
    basic = BASIC(**{key: settings[key] for key in keys}, contextualise=False)
    basic.fitted = Statistics.of(
        basic,
        sets['mean'],
        sets['subjects'],
        sets['styles'],
        sets['norm_image'],
        sets['norm_text'],
    )
    return basic
