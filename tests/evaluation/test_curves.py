"""Curves per class against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_curve

from rs_mm.evaluation.change_metric import ChangeMetric
from rs_mm.evaluation.curves import curve_of_bins, curve_of_scores, probability_bins
from rs_mm.visualization.curve_plots import write_curves


def test_scores_as_scikit_learn_has_them():
    generator = np.random.default_rng(0)
    score, true = generator.random(300).round(2), generator.random(300) < 0.3
    curve = curve_of_scores(score, true)
    precision, recall, threshold = precision_recall_curve(true, score)
    np.testing.assert_allclose(curve.threshold, threshold)
    np.testing.assert_allclose(curve.precision, precision[:-1])
    np.testing.assert_allclose(curve.recall, recall[:-1])
    assert curve.average_precision == pytest.approx(average_precision_score(true, score))


def test_pixels_in_bins():
    generator = torch.Generator().manual_seed(0)
    probability = torch.randint(0, 1000, (40, 50), generator=generator) / 1000 + 1e-4
    label = (torch.rand(40, 50, generator=generator) < probability).long()
    label[0] = 255
    bins = probability_bins(torch.stack([1 - probability, probability]), label)
    curve, known = curve_of_bins(bins[1]), label != 255
    expected = average_precision_score(label[known] == 1, probability[known])
    assert curve.average_precision == pytest.approx(expected, abs=1e-6)
    found = (probability >= curve.best_threshold) & known
    hit = (found & (label == 1)).sum()
    assert curve.f1.max() == pytest.approx(
        float(2 * hit / (found.sum() + (label == 1).sum())), abs=1e-6
    )


def change_samples(count=3):
    generator = torch.Generator().manual_seed(1)
    for i in range(count):
        label = torch.randint(0, 3, (1, 8, 8), generator=generator)
        logits = torch.nn.functional.one_hot(label[0], 3).permute(2, 0, 1) * 2.0
        logits += torch.randn(3, 8, 8, generator=generator)
        yield dict(
            img_path=[f'A/{i % 2}.png'],
            gt_sem_seg=dict(data=label),
            seg_logits=dict(data=logits),
            pred_sem_seg=dict(data=logits.argmax(0, keepdim=True)),
        )


def test_change_metric_of_three_classes(tmp_path):
    metric = ChangeMetric()
    metric.dataset_meta = dict(classes=('unchanged', 'built', 'razed'))
    metric.keep_curves = True
    metric.process(None, list(change_samples()))
    scores = metric.evaluate(3)
    rows = metric.sample_scores
    assert [row['sample'] for row in rows] == ['0', '1', '0#2']
    assert rows[0]['IoU'] == pytest.approx((rows[0]['IoU_built'] + rows[0]['IoU_razed']) / 2)
    assert metric.confusion.counts.sum() == 3 * 64
    assert set(metric.curves) == {'built', 'razed'} and scores['F1_built'] > 50
    files = {path.name for path in write_curves(tmp_path, [metric])}
    assert files == {
        'confusion.csv',
        'confusion.png',
        'precision_recall.png',
        'threshold.png',
        'curve_built.csv',
        'curve_razed.csv',
    }


def test_pair_that_is_missed_altogether_counts_as_nothing_found():
    metric = ChangeMetric()
    metric.dataset_meta = dict(classes=('unchanged', 'changed'))
    label = torch.zeros(1, 4, 4, dtype=torch.long)
    empty = dict(gt_sem_seg=dict(data=label), pred_sem_seg=dict(data=label.clone()))
    missed = dict(gt_sem_seg=dict(data=1 - label), pred_sem_seg=dict(data=label.clone()))
    metric.process(None, [empty, missed])
    metric.evaluate(2)
    nothing, missed = metric.sample_scores
    assert np.isnan(nothing['F1']) and missed['F1'] == 0 == missed['IoU']
