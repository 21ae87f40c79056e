"""Ranking, measures, labels and PCA against straightforward derivations, and bad inputs."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.retrieval import (
    PCA,
    AlphaQE,
    AverageQE,
    CosineScores,
    MatchLevels,
    Ranking,
    evaluate,
    jaccard_distance,
    normalized,
    rank,
)
from rs_mm.retrieval.measures import average_precisions, precision_at


def random_labels(n, size=19, p=0.2, seed=0):
    return (torch.rand(n, size, generator=torch.Generator().manual_seed(seed)) < p).float()


def test_ranking_is_stable_and_exact():
    scores = torch.randn(5, 200, generator=torch.Generator().manual_seed(1))
    scores[:, ::3] = scores[:, :1]  # ties
    scores[0, 5], scores[0, 6] = 0.0, -0.0
    order = scores.argsort(dim=1, descending=True, stable=True)
    positions, values = rank(scores.clone())
    assert torch.equal(positions, order)
    assert torch.equal(values, scores.gather(1, order))
    payload = torch.arange(200, dtype=torch.uint8).remainder(128).expand(5, -1)
    ranking = Ranking(scores.clone(), payload)
    assert torch.equal(ranking.payload().long(), order % 128)
    assert rank(scores.clone(), 3)[0].shape == (5, 3)
    whole = torch.randint(0, 9, (4, 50), dtype=torch.int32)
    assert torch.equal(rank(whole.clone())[0], whole.argsort(dim=1, stable=True))


@pytest.mark.parametrize(
    'thresholds',
    [{'easy': 0.6, 'medium': 0.4, 'hard': 0.2}, {'a': 1 / 3, 'b': 0.5, 'c': 0.75}, {'none': 0.0}],
)
@pytest.mark.parametrize('size', [19, 300])
def test_levels_follow_the_distance(size, thresholds):
    labels = torch.cat([random_labels(120, size), torch.zeros(3, size), torch.ones(2, size)])
    codes, shared = MatchLevels(labels, thresholds, shared=True)(labels)
    distance = jaccard_distance(labels, labels)
    for bit, threshold in enumerate(thresholds.values()):
        assert torch.equal(((codes >> bit) & 1).bool(), distance <= threshold)
    assert torch.equal((codes >> len(thresholds)).bool(), shared > 0)
    assert torch.equal(shared.float(), labels @ labels.t())
    assert (
        float(
            jaccard_distance(torch.tensor([[1.0, 1, 1, 1, 0]]), torch.tensor([[1.0, 1, 1, 0, 1]]))
        )
        == 0.4
    )


def test_average_precision_by_hand():
    hits = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    trapezoid, plain, count = average_precisions(hits)
    # matches at ranks 0, 2, 3: (1 + 1)/2, (1/2 + 2/3)/2, (2/3 + 3/4)/2
    assert trapezoid[0] == pytest.approx((1 + 7 / 12 + 17 / 24) / 3)
    assert plain[0] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert trapezoid[1] == pytest.approx((0 / 4 + 1 / 5) / 2)
    assert torch.isnan(trapezoid[2]) and trapezoid[3] == pytest.approx(1)
    assert count.tolist() == [3, 1, 0, 5]
    at = precision_at(hits, count, k=3)
    # the first query's last match lies behind rank 3; the last query's does, too
    assert at[:2].tolist() == pytest.approx([2 / 3, 0]) and at[3] == 1
    assert float(precision_at(torch.tensor([[1, 0, 0, 0]]), torch.tensor([1.0]), 3)) == 1


def test_shared_label_figures():
    labels = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]])
    scores = torch.tensor([[0.9, 0.1, 0.5, 0.8]])
    result = evaluate(
        lambda a, b: scores[a:b].clone(),
        torch.tensor([[1.0, 0, 0]]),
        labels,
        at=[2],
        shared_at=[1, 2],
    )
    # order: image 0 (shares), 3 (not), 2 (not), 1 (shares)
    assert result.positions.tolist() == [[0, 3, 2, 1]]
    means = result.mean()
    assert means['mAP_shared'] == pytest.approx((1 + 2 / 4) / 2)
    assert means['P@2_shared'] == 0.5 and means['R@1_shared'] == 1


def test_queries_without_match_are_left_out():
    labels = torch.eye(4)
    scores = torch.rand(2, 4)
    queries = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1]])
    result = evaluate(lambda a, b: scores[a:b].clone(), queries, labels, at=[2], shared_at=[1])
    assert (result.matches['hard'] > 0).tolist() == [True, False]
    assert np.isfinite(result.mean()['mAP_hard'])
    none = evaluate(lambda a, b: scores[1:].clone(), queries[1:], labels, at=[2], shared_at=[1])
    assert np.isnan(none.mean()['mAP_hard']) and np.isfinite(none.mean()['nDCG@2'])
    # runs of one query each: the second has no mean
    assert result.mean(chunk=1)['mAP_hard'] == result.mean()['mAP_hard']


def test_pca_whitens():
    basis = torch.randn(12, 12, generator=torch.Generator().manual_seed(3))
    vectors = torch.randn(500, 12, generator=torch.Generator().manual_seed(4)) @ basis + 5
    pca = PCA.fit(vectors, 6, chunk=64)
    raw = (vectors - pca.mean) @ pca.projection
    covariance = raw.t() @ raw / 499
    assert torch.allclose(covariance, torch.eye(6), atol=1e-3)
    plain = PCA.fit(vectors, 12, whiten=False)
    centred = vectors - vectors.mean(0)
    assert torch.allclose((centred @ plain.projection).norm(dim=1), centred.norm(dim=1), rtol=1e-4)
    assert pca(vectors).norm(dim=1).allclose(torch.ones(500))


def test_pca_file(tmp_path):
    vectors = torch.randn(30, 8)
    pca = PCA.fit(vectors, 4)
    pca.save(tmp_path / 'pca.npz')
    assert torch.equal(PCA.load(tmp_path / 'pca.npz')(vectors), pca(vectors))
    with pytest.raises(MissingFileError, match='none.npz'):
        PCA.load(tmp_path / 'none.npz')
    with pytest.raises(DataError, match='fitted to 8 dimensions'):
        pca(torch.randn(3, 9))
    with pytest.raises(ConfigError, match='pca.dims is 8'):
        PCA.fit(vectors[:5], 8)
    (tmp_path / 'pca.npz').write_bytes(b'no zip')
    with pytest.raises(DataError, match='is not a PCA file'):
        PCA.load(tmp_path / 'pca.npz')


def test_fractional_alpha_takes_no_root_of_a_negative():
    vectors = normalized(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    scores = vectors[:2] @ vectors.t()
    positions, values = rank(scores.clone())
    expanded = AlphaQE(6, 0.5).expand(vectors[:2], vectors, positions, values)
    assert expanded.isfinite().all()


@pytest.mark.skipif(not Path('/proc/self/statm').is_file(), reason='reads memory as Linux has it')
def test_memory_does_not_grow_with_the_queries():
    labels = random_labels(20_000)
    peak = 0

    def scores(start, stop):
        nonlocal peak
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        peak = max(peak, pages * resource.getpagesize())
        return torch.rand(stop - start, len(labels))

    peaks = []
    for count in (128, 1024):
        evaluate(scores, random_labels(count), labels)
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 100 * 2**20  # 0.3 MiB a query when small results were kept


def test_bad_inputs():
    vectors = normalized(torch.randn(8, 4))
    labels = random_labels(8, p=0.6)
    with pytest.raises(ConfigError, match='at needs the best 20, but the database holds 8'):
        evaluate(CosineScores(vectors, vectors), labels, labels, at=[20])
    with pytest.raises(ConfigError, match='AverageQE: k is 9'):
        AverageQE(9).expand(vectors, vectors, *rank(vectors @ vectors.t()))
    with pytest.raises(DataError, match='1 of 8 are NaN or infinite, first number 2'):
        vectors[2, 1] = float('nan')
        normalized(vectors)
    with pytest.raises(DataError, match='expected vectors'):
        normalized(torch.zeros(0, 4), 'queries')
    result = evaluate(
        CosineScores(torch.ones(8, 1), torch.ones(8, 1)), labels, labels, at=[2], shared_at=[1]
    )
    with pytest.raises(ConfigError, match='mean_chunk is 9, but there are 8 queries'):
        result.mean(chunk=9)
