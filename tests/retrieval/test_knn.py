"""Weighted KNN equals the original's score and scikit-learn's predictions."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from rs_mm.errors import DataError
from rs_mm.evaluation.multilabel_scores import f1_scores
from rs_mm.retrieval.knn import knn_classify, vote
from rs_mm.retrieval.nearest import nearest
from tests import fill
from tests.parity import load_case


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize('max_similarities', [2**26, 1000])
@pytest.mark.parametrize('k', [10, 5, 1])
def test_score_equals_the_original(k, max_similarities):
    _, recorded = load_case('grn', 'knn')
    train, val = recorded['labels_train'], recorded['labels_val']
    projection = fill.normal('grn/knn/proj', [17, 32])
    reference = unit(
        train.astype(np.float32) @ projection * 0.6 + fill.normal('grn/knn/nt', [300, 32])
    ).astype(np.float32)
    queries = unit(
        val.astype(np.float32) @ projection * 0.6 + fill.normal('grn/knn/nv', [60, 32])
    ).astype(np.float32)
    queries[:3] = reference[:3]
    pred = knn_classify(*map(torch.from_numpy, (queries, reference, train)), k, max_similarities)
    np.testing.assert_array_equal(pred, recorded[f'k{k}_pred'])
    scores = f1_scores(pred, torch.from_numpy(val))
    assert scores['sample'] == pytest.approx(recorded[f'k{k}_f1'], rel=1e-9)
    assert [scores[kind] for kind in ('macro', 'micro', 'sample')] == pytest.approx(
        recorded[f'k{k}_f1_macro_micro_sample'].tolist(), rel=1e-9
    )


@pytest.mark.parametrize('rows, dim, k', [(50, 3, 10), (5000, 16, 10), (3000, 20, 1), (12, 40, 12)])
def test_predictions_equal_scikit_learn(rows, dim, k):
    rng = np.random.default_rng(rows)
    reference = (rng.standard_normal((rows, dim)) + 30).astype(np.float32)  # far from the origin
    labels = (rng.random((rows, 4)) < 0.4).astype(np.uint8)
    labels[:, 3] = 0  # a class the reference does not know
    queries = (rng.standard_normal((300, dim)) + 30).astype(np.float32)
    queries[:5] = reference[:5]
    theirs = (
        KNeighborsClassifier(k, weights='distance')
        .fit(reference.astype(np.float64), labels)
        .predict(queries.astype(np.float64))
    )
    ours = knn_classify(*map(torch.from_numpy, (queries, reference, labels)), k)
    np.testing.assert_array_equal(ours, theirs)
    assert ours[:, 3].sum() == 0


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('spread', [1.0, 1e-3])
def test_neighbours_are_exact_for_any_chunk(dtype, spread, monkeypatch):
    # with a small spread all vectors lie close together, beyond what half precision tells apart
    torch.manual_seed(0)
    queries, reference = (5 + spread * torch.randn(rows, 6) for rows in (300, 4097))
    reference[1000:1010] += 100 * spread
    full = torch.cdist(
        queries.double(), reference.double(), compute_mode='donot_use_mm_for_euclid_dist'
    )
    expected = full.topk(9, largest=False)
    for bound, width in ((2**26, 16384), (2**26, 1000), (40_000, 16384), (1, 700)):
        monkeypatch.setitem(nearest.__globals__['_WIDTH'], 'cpu', width)
        distance, index = nearest(queries, reference, 9, bound, dtype)
        assert torch.equal(index, expected.indices)
        torch.testing.assert_close(distance, expected.values)


def test_half_precision_is_mostly_enough(monkeypatch):
    torch.manual_seed(0)
    queries, reference = torch.randn(64, 32), torch.randn(3000, 32)
    kinds, search = [], nearest.__globals__['_Search']
    monkeypatch.setitem(
        nearest.__globals__, '_Search', lambda *args: kinds.append(args[-1]) or search(*args)
    )
    nearest(queries, reference, 5, dtype=torch.bfloat16)
    sure = search(reference, 5, 64, torch.bfloat16)(queries)[2]
    assert kinds[0] == torch.bfloat16 and sure.float().mean() > 0.8


def test_only_identical_neighbours_vote_and_a_tie_is_no():
    labels = torch.tensor([[[1, 0], [1, 1], [0, 1]]])
    assert vote(torch.tensor([[0.0, 0.1, 0.1]]), labels).tolist() == [[1, 0]]
    assert vote(torch.tensor([[0.0, 0.0, 0.1]]), labels).tolist() == [[1, 0]]
    assert vote(torch.tensor([[0.1, 0.2, 0.2]]), labels).tolist() == [[1, 0]]
    assert vote(torch.tensor([[0.1, 0.2, 0.1]]), labels).tolist() == [[1, 1]]


def test_bad_input_is_named():
    queries, reference = torch.randn(3, 4), torch.randn(5, 4)
    with pytest.raises(DataError, match='k is 6, but there are 5'):
        nearest(queries, reference, 6)
    with pytest.raises(DataError, match='no reference embeddings'):
        nearest(queries, reference[:0], 1)
    with pytest.raises(DataError, match='queries have 4 dimensions, the references 3'):
        nearest(queries, reference[:, :3], 1)
    with pytest.raises(DataError, match='1 of the references hold NaN'):
        nearest(queries, reference.clone().index_fill(0, torch.tensor([2]), torch.nan), 1)
    with pytest.raises(DataError, match='5 reference embeddings, but labels for 4'):
        knn_classify(queries, reference, torch.ones(4, 2), 1)
    assert nearest(queries[:0], reference, 2)[1].shape == (0, 2)
