"""Both evaluation protocols and the re-rankers equal the original OML code."""

import numpy as np
import pytest
import torch

from rs_mm.retrieval import (
    AlphaQE,
    AverageQE,
    CosineScores,
    LabelAffinity,
    evaluate,
    jaccard_distance,
    normalized,
    split_queries,
)
from tests import fill
from tests.parity import load_case

REVERSED = {'easy': 0.2, 'medium': 0.4, 'hard': 0.6}


def make_data():
    _, expected = load_case('oml', 'metrics')
    labels = torch.from_numpy(expected['labels']).float()
    vectors = (labels.numpy() @ fill.normal('oml/ret/proj', (17, 32))) * 0.35
    vectors = normalized(torch.from_numpy(vectors + fill.normal('oml/ret/noise', (400, 32))))
    queries, database = split_queries(400)
    return vectors, labels, queries, database, expected


def run(thresholds=None, reranker=None, **options):
    vectors, labels, queries, database, _ = make_data()
    base = vectors[database]
    args = {} if thresholds is None else dict(thresholds=thresholds)
    args.update(dict(keep=len(database), chunk_size=32), **options)
    plain = evaluate(
        CosineScores(vectors[queries], base), labels[queries], labels[database], **args
    )
    if reranker is None:
        return plain
    scores = reranker(vectors[queries], base, labels[database], plain.positions, plain.scores)
    return evaluate(scores, labels[queries], labels[database], **args)


def check_means(means, expected, prefix):
    names = {f'mAP_{level}': f'{level}_map' for level in ('easy', 'medium', 'hard')}
    names |= {f'P@10_{level}': f'{level}_p10' for level in ('easy', 'medium', 'hard')}
    names |= {
        f'{m}@{k}': f'{m}_at_{k}' for m in ('ACG', 'nDCG', 'wAP') for k in (20, 40, 60, 80, 100)
    }
    for ours, theirs in names.items():
        assert means[ours] == pytest.approx(float(expected[prefix + theirs]), rel=1e-5), ours


def test_standard_protocol():
    _, _, queries, database, expected = make_data()
    assert np.array_equal(queries, expected['qr_idx'])
    assert np.array_equal(database, expected['db_idx'])
    result = run()
    check_means(result.mean(), expected, 'std_')
    assert (result.positions.numpy() != expected['ranks']).mean() <= 1e-3
    assert np.array_equal(result.matches['hard'] > 0, expected['kept'])
    for level in ('easy', 'medium', 'hard'):
        assert np.array_equal(result.matches[level], expected[f'{level}_n'])
        np.testing.assert_allclose(result.values[f'mAP_{level}'], expected[f'{level}_ap'], 1e-5)
        has = expected[f'{level}_n'] > 0
        np.testing.assert_allclose(
            result.values[f'P@10_{level}'][has], expected[f'{level}_pr10'][has], 1e-5
        )
    for k in (20, 100):
        ours = np.stack([result.values[f'{m}@{k}'] for m in ('ACG', 'nDCG', 'wAP')], 1)
        np.testing.assert_allclose(ours, expected[f'per_query_acg_ndcg_wap_{k}'], 1e-6)


def test_chunk_size_changes_nothing():
    assert run(chunk_size=7).mean() == pytest.approx(run(chunk_size=400).mean(), rel=1e-6)


@pytest.mark.parametrize('chunk', [25, 30, 80])
def test_bigearthnet_protocol(chunk):
    *_, expected = make_data()
    check_means(run().mean(chunk=chunk), expected, f'ben_chunk{chunk}_')


def test_reversed_level_names():
    _, labels, *_, expected = make_data()
    manifest, _ = load_case('oml', 'metrics')
    check_means(run(REVERSED).mean(chunk=25), expected, 'benrev_')


def test_ground_truth_counts():
    _, labels, *_, expected = make_data()
    distance = jaccard_distance(labels, labels)
    for level, threshold in (('easy', 0.6), ('medium', 0.4), ('hard', 0.2)):
        counts = (distance <= threshold).sum(1).numpy()
        assert np.array_equal(counts, expected[f'gt_{level}_count'])


@pytest.mark.parametrize(
    'name, reranker',
    [
        ('plain', None),
        ('qe_k10', AverageQE(10)),
        ('qe_k3', AverageQE(3)),
        ('aqe_k10_a1', AlphaQE(10, 1)),
        ('aqe_k10_a3', AlphaQE(10, 3)),
        ('aqe_k3_a1', AlphaQE(3, 1)),
        ('aqe_k3_a3', AlphaQE(3, 3)),
        ('ja_stable', LabelAffinity()),
        ('ben_qe', AverageQE(10)),
        ('ben_ja_stable', LabelAffinity('single')),
    ],
)
def test_rerankers(name, reranker):
    _, expected = load_case('oml', 'rerank')
    result = run(reranker=reranker)
    check_means(result.mean(chunk=25 if name.startswith('ben') else None), expected, f'{name}_')
    assert (result.positions[:, :20].numpy() != expected[f'{name}_top20']).mean() <= 1e-3
    assert (result.positions[:5].numpy() != expected[f'{name}_first5']).mean() <= 1e-3


def test_expanded_queries():
    _, expected = load_case('oml', 'rerank')
    vectors, _, queries, database, _ = make_data()
    plain = run()
    for name, reranker in (('qe', AverageQE(10)), ('aqe', AlphaQE(10, 3))):
        ours = reranker.expand(vectors[queries], vectors[database], plain.positions, plain.scores)
        np.testing.assert_allclose(ours[:5], expected[f'{name}_queries'], 1e-5, 1e-6)
