"""Fused search from candidates is that over the whole archive, in every back end."""

import time

import numpy as np
import pytest
import torch

from rs_mm.errors import DataError
from rs_mm.retrieval.basic import BASIC, Minima, Statistics
from rs_mm.retrieval.composed import score_archive
from rs_mm.retrieval.fusion import (
    AverageFusion,
    Fusion,
    ImageOnly,
    MinimumFusion,
    ProductFusion,
    TextOnly,
    WeiCom,
    normal_cdf,
)
from rs_mm.retrieval.index import ExactIndex, Moments, Record, make_filter, search_fused

from .conftest import COUNT, DIM, records, unit, vectors


def basic(**options):
    """BASIC with statistics of the archive, without an encoder."""
    method = BASIC(**options)
    archive = torch.from_numpy(vectors())
    method.fitted = Statistics.of(
        method, archive.mean(0), torch.from_numpy(unit(80, 1)), torch.from_numpy(unit(60, 2)),
        archive, torch.from_numpy(unit(80, 1)),
    )  # fmt: skip
    return method


class Difference(Fusion):
    """An own fusion that says nothing about bounds."""

    def fuse(self, image, text):
        return image - text


FUSIONS = [
    ImageOnly(),
    TextOnly(),
    AverageFusion(),
    AverageFusion(normalize=True),
    WeiCom(0.3),
    WeiCom(0.6),
    ProductFusion(),
    ProductFusion(clamp=True),
    MinimumFusion(),
    MinimumFusion(published=True),
    basic(),
    basic(query_expansion=False, harris_lambda=0.3),
    basic(harris_lambda=0),
    Difference(),
]


def in_float64(fusion, image, text, chosen):
    archive = torch.from_numpy(vectors()[chosen]).double()
    if fusion.transforms_queries:
        fusion.fitted = Statistics(
            *(part.double() for part in fusion.fitted[:3]), *fusion.fitted[3:]
        )
    scores = score_archive(fusion, image.double()[None], text.double()[None], archive)[0].numpy()
    if fusion.transforms_queries:
        fusion.fitted = Statistics(
            *(part.float() for part in fusion.fitted[:3]), *fusion.fitted[3:]
        )
    return scores


@pytest.mark.parametrize('fusion', FUSIONS, ids=lambda f: f.name or 'own')
@pytest.mark.parametrize('scan', [0, 10**6], ids=['candidates', 'all'])
def test_equal_to_the_whole_archive(fusion, scan):
    exact = ExactIndex.of(vectors(), records(), {})
    image, text = torch.from_numpy(unit(2, 8))
    where = make_filter(where='width == 0')
    for condition, chosen in (
        (None, range(COUNT)),
        (where, [i for i, record in enumerate(records()) if not record.width]),
    ):
        chosen = list(chosen)
        answer = search_fused(exact, fusion, image, text, 25, condition, first=30, scan=scan)
        scores = in_float64(fusion, image, text, chosen)
        np.testing.assert_allclose(answer.scores, np.sort(scores)[::-1][:25], rtol=1e-4, atol=2e-6)
        keys = [records()[i].key for i in chosen]
        own = dict(zip(keys, scores))
        found = np.array([own[key] for key in answer.keys])
        assert (np.diff(found) < 2e-6).all() and len(set(answer.keys)) == 25
        assert answer.exact and answer.total == len(chosen)
        if scan:
            assert answer.seen == answer.total


@pytest.mark.parametrize('fusion', FUSIONS[:-1], ids=lambda f: f.name)
def test_the_bound_holds_on_a_grid(fusion):
    grid = torch.linspace(0, 1, 41) if fusion.normalize else torch.linspace(-1, 3, 41)
    image, text = torch.meshgrid(grid, grid, indexing='ij')
    scores = fusion.fuse(image, text)
    for i, t in ((40, 40), (40, 3), (5, 33), (0, 0), (20, 19)):
        bound = float(fusion.bound(grid[i : i + 1], grid[t : t + 1])[0])
        assert bound >= float(scores[: i + 1, : t + 1].max()) - 1e-6


def test_all_back_ends_answer_alike(kept):
    reference = ExactIndex.of(vectors(), records(), {})
    image, text = torch.from_numpy(unit(2, 18))
    image = torch.from_numpy(vectors()[3])  # two archive images are equal to it
    for fusion in (ImageOnly(), WeiCom(0.4), basic()):
        expected = search_fused(reference, fusion, image, text, 40)
        mine = search_fused(kept, fusion, image, text, 40, first=150, scan=0)
        assert mine.keys == expected.keys
        np.testing.assert_allclose(mine.scores, expected.scores, rtol=0, atol=1e-12)
        assert mine.backend == kept.name and mine.exact == kept.is_exact()
        assert ('exact' if mine.exact else 'approximate') in mine.report()


def test_few_candidates_are_enough_where_the_bound_is_sharp(kept):
    image = torch.from_numpy(vectors()[11])
    answer = search_fused(kept, AverageFusion(), image, image, 1, first=10, scan=0)
    assert answer.keys == [records()[11].key] and answer.seen < 40


def test_a_filter_that_matches_nothing(kept):
    where = make_filter(where='north > 89')
    with pytest.raises(DataError, match='no record of .* meets the filter; of 600 records'):
        search_fused(kept, ImageOnly(), torch.from_numpy(unit(1, 0)[0]), None, 3, where)


def test_a_score_that_is_no_number(kept):
    for scan in (0, 1000):
        with pytest.raises(DataError, match='is nan; are the weights damaged'):
            search_fused(kept, ImageOnly(), torch.full((DIM,), torch.nan), None, 3, scan=scan)


def test_moments_give_mean_and_deviation_of_any_query():
    archive, query = vectors().astype(np.float64), unit(1, 3)[0].astype(np.float64)
    moments = Moments.empty(DIM)
    moments.update(archive[:100])
    moments.update(archive[50:])
    moments.update(archive[50:100], -1)
    moments = Moments.of_bytes(moments.to_bytes())
    mean, deviation = moments.of_similarity(query)
    assert mean == pytest.approx(float((archive @ query).mean()), abs=1e-12)
    assert deviation == pytest.approx(float((archive @ query).std(ddof=1)), rel=1e-9)
    products = torch.from_numpy(archive @ query)
    expected = torch.special.ndtr((products - mean) / deviation)
    torch.testing.assert_close(normal_cdf(products), expected)


def test_minima_are_a_pair():
    assert basic().fitted.minima == Minima(*basic().fitted.minima)


@pytest.mark.slow
def test_a_million_vectors(tmp_path, capsys):
    """Equal to the comparison with all, and how long it takes; run with ``-s``."""
    import resource

    rng, dim, count = np.random.default_rng(0), 256, 1_000_000
    index = ExactIndex(tmp_path / 'index', dim, {})
    cone = rng.standard_normal(dim).astype(np.float32)
    start = time.perf_counter()
    for block in range(0, count, 50_000):
        rows = rng.standard_normal((50_000, dim)).astype(np.float32) + 0.7 * cone
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        index.add([Record(name=f'{block + i:07d}') for i in range(len(rows))], rows)
    built = time.perf_counter() - start
    image, text = torch.from_numpy(rows[:2])
    lines = [f'build {built:.0f} s']
    for fusion in (WeiCom(0.5), ProductFusion(clamp=True)):
        start = time.perf_counter()
        quick = search_fused(index, fusion, image, text, 50)
        middle = time.perf_counter()
        whole = search_fused(index, fusion, image, text, 50, scan=count)
        lines.append(
            f'{fusion.name}: {middle - start:.2f} s from {quick.seen} candidates, '
            f'{time.perf_counter() - middle:.2f} s from all'
        )
        assert quick.keys == whole.keys and quick.exact
    lines.append(f'peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB')
    with capsys.disabled():
        print('\n' + '\n'.join(lines))
