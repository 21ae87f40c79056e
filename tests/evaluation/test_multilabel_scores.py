"""Scores of label predictions equal scikit-learn's, and the original's where rows are empty."""

import numpy as np
import pytest
import torch
from sklearn import metrics

from rs_mm.errors import DataError
from rs_mm.evaluation.multilabel_scores import (
    average_precision,
    class_scores,
    f1_scores,
    hamming_loss,
)
from tests import fill
from tests.parity import load_case


def test_empty_rows_count_zero_as_in_the_original():
    _, recorded = load_case('grn', 'knn')
    true = torch.from_numpy(fill.multi_hot('grn/knn/e_true', [12, 17], 0.2))
    pred = torch.from_numpy(fill.multi_hot('grn/knn/e_pred', [12, 17], 0.2))
    true[:3], pred[1:4] = 0, 0
    scores = f1_scores(pred, true)
    assert [scores[kind] for kind in ('macro', 'micro', 'sample')] == pytest.approx(
        recorded['f1_empty_rows'].tolist(), rel=1e-9
    )


def test_scores_equal_scikit_learn():
    rng = np.random.default_rng(0)
    true, pred = rng.random((60, 6)) < 0.3, rng.random((60, 6)) < 0.3
    true[:, 5] = pred[:, 4] = False
    score = rng.integers(0, 8, (60, 6)) / 8  # many ties
    ours = class_scores(torch.from_numpy(pred), torch.from_numpy(true))
    theirs = metrics.precision_recall_fscore_support(true, pred, zero_division=0)
    for key, values in zip(('precision', 'recall', 'f1', 'support'), theirs):
        np.testing.assert_allclose(ours[key], values)
    assert hamming_loss(*map(torch.from_numpy, (pred, true))) == pytest.approx(
        metrics.hamming_loss(true, pred)
    )
    precision = average_precision(torch.from_numpy(score), torch.from_numpy(true))
    np.testing.assert_allclose(
        precision[:5], metrics.average_precision_score(true[:, :5], score[:, :5], average=None)
    )
    assert precision[5].isnan()


def test_bad_input_is_named():
    with pytest.raises(DataError, match=r'shape \(2, 3\) do not match labels of shape \(2, 4\)'):
        f1_scores(torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(DataError, match='class scores hold NaN'):
        average_precision(torch.full((2, 3), torch.nan), torch.ones(2, 3))
