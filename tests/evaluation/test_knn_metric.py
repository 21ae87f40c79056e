"""The KNN metric: what it reports, and what it says of missing parts."""

import pytest
import torch

from rs_mm.errors import ConfigError, DataError
from rs_mm.evaluation import KNNMetric


def samples(embeddings, labels, scores=None):
    result = [dict(embedding=e, gt_label=g) for e, g in zip(embeddings, labels)]
    for sample, score in zip(result, scores if scores is not None else []):
        sample['score'] = score
    return result


@pytest.fixture
def metric():
    metric = KNNMetric(k=2)
    metric.dataset_meta = dict(classes=('tree', 'ship', 'sea'))
    metric.set_reference(
        torch.tensor([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [5.1, 0.0]]),
        torch.tensor([[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]),
    )
    return metric


def test_scores_and_keeps_what_pictures_need(metric, caplog):
    embeddings = torch.tensor([[0.05, 0.0], [5.02, 0.0]])
    labels = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    scores = torch.tensor([[0.9, 0.1, 0.2], [0.2, 0.8, 0.1]])
    metric.process({}, samples(embeddings, labels, scores))
    result = metric.evaluate(2)
    # predicted: {tree}, and {ship} since the neighbour without tree is nearer
    assert result['knn/f1_sample'] == pytest.approx((1 + 2 / 3) / 2)
    assert result['knn/f1_micro'] == pytest.approx(2 * 2 / (2 + 3))
    assert result['knn/f1_macro'] == pytest.approx(2 / 3)
    assert result['knn/hamming_loss'] == pytest.approx(1 / 6)
    assert list(result) == [f'knn/{key}' for key in metric.result_keys()]
    assert result['knn/mAP'] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert torch.equal(metric.embedded.labels, labels)
    assert metric.embedded.classes == ['tree', 'ship', 'sea']


def test_without_classifier_there_is_no_map(metric):
    metric.process({}, samples(torch.zeros(3, 2), torch.tensor([[1.0, 0, 0]] * 3)))
    assert 'knn/mAP' not in metric.evaluate(3)


def test_embeddings_that_are_not_finite_are_refused(metric):
    found = samples(torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]), torch.ones(2, 3))
    metric.process({}, [dict(sample, name=name) for sample, name in zip(found, 'ab')])
    with pytest.raises(DataError, match="image 'b' is NaN or infinite, as 1 of 2 are"):
        metric.evaluate(2)
    with pytest.raises(DataError, match='reference image 1 is NaN'):
        metric.set_reference(torch.tensor([[0.0], [torch.inf]]), torch.ones(2, 3))


def test_what_is_missing_is_named(metric):
    with pytest.raises(DataError, match="image 'a' has no label"):
        metric.process({}, [dict(embedding=torch.zeros(2), name='a')])
    metric.process({}, samples(torch.zeros(1, 2), torch.ones(1, 4)))
    with pytest.raises(DataError, match='test images have 4 labels, the reference 3'):
        metric.evaluate(1)
    other = KNNMetric()
    other.process({}, samples(torch.zeros(1, 2), torch.ones(1, 3)))
    with pytest.raises(ConfigError, match="nothing to search: add `dict\\(type='KNNReferenceHook'"):
        other.evaluate(1)
    with pytest.raises(ConfigError, match='`k` must be at least 1, not 0'):
        KNNMetric(k=0)
