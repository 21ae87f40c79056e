"""The few-shot metric against the original's numbers, and over two processes."""

import numpy as np
import pytest
import torch

from rs_mm.errors import DataError
from rs_mm.evaluation.few_shot_metric import FewShotMetric, episode_areas, iou_scores
from tests import fill
from tests.distributed import run_processes
from tests.parity import load_case


@pytest.fixture
def case():
    manifest, arrays = load_case('sccnet', 'evaluator')
    pred, target, ignore = (
        torch.from_numpy(fill.blob_mask(f'sccnet/evaluator/{n}', (6, 64, 64)))
        for n in ('pred', 'gt', 'ignore')
    )
    ignore = ignore * (1 - target)
    ignore[[0, 2, 5]] = 0
    labels = next(i['values'] for i in manifest['inputs'] if i['role'] == 'class_id')
    return manifest, arrays, pred, target, ignore, labels


def test_areas(case):
    _, arrays, pred, target, ignore, _ = case
    for tail, mask in (('', ignore), ('_without_ignore', None)):
        intersection, union = episode_areas(pred, target, mask)
        assert (intersection.numpy() == arrays[f'area_inter{tail}']).all()
        assert (union.numpy() == arrays[f'area_union{tail}']).all()


@pytest.mark.parametrize('name', ['isaid_fold0_val', 'dlrsd_fold0_val', 'isaid_fold1_trn'])
def test_metric(case, name):
    manifest, _, pred, target, ignore, labels = case
    expected = manifest['scalars'][name]
    metric = FewShotMetric()
    metric.dataset_meta = dict(
        classes=[str(i) for i in range(15)], class_ids=expected['class_ids_interest']
    )
    for part in (slice(0, 3), slice(3, 6)):
        metric.process(
            None,
            [
                dict(pred_mask=p, gt_mask=t, ignore=i, class_id=c, query_name='q')
                for p, t, i, c in zip(pred[part], target[part], ignore[part], labels[part])
            ],
        )
    scores = metric.evaluate(6)
    assert metric.result_keys() == list(scores)
    assert scores['mIoU'] == pytest.approx(expected['miou'], abs=1e-4)
    assert scores['FB-IoU'] == pytest.approx(expected['fb_iou'], abs=1e-4)


def test_class_table_and_perfect_prediction(case, caplog):
    *_, pred, target, ignore, labels = case
    inter, union = np.zeros((2, 5)), np.zeros((2, 5))
    i, u = episode_areas(target, target)
    np.add.at(inter.T, labels, i.T.numpy())
    np.add.at(union.T, labels, u.T.numpy())
    mean, fb, by_class = iou_scores(inter, union, range(5))
    assert by_class.tolist() == [100, 100, 0, 100, 100] and mean == 80 and fb == 100


def test_ignored_foreground_is_an_error(case):
    *_, pred, target, _, labels = case
    metric = FewShotMetric()
    with pytest.raises(DataError, match='query P1: a pixel is ignored and foreground'):
        metric.process(
            None,
            [
                dict(
                    pred_mask=pred[0],
                    gt_mask=target[0],
                    ignore=target[0],
                    class_id=0,
                    query_name='P1',
                )
            ],
        )


def _in_process(rank):
    metric = FewShotMetric()
    metric.dataset_meta = dict(classes=['a', 'b', 'c'], class_ids=[0, 1, 2])
    pred, target = (
        torch.from_numpy(fill.blob_mask(f'metric/{n}', (5, 16, 16))) for n in ('pred', 'target')
    )
    # the sampler's order: every second episode, and one repeated so that both have three
    order = range(5) if rank is None else [0, 2, 4] if rank == 0 else [1, 3, 0]
    for i in order:
        metric.process(
            None, [dict(pred_mask=pred[i], gt_mask=target[i], class_id=i % 3, query_name=str(i))]
        )
    return metric.evaluate(5)


def test_two_processes_equal_one(tmp_path):
    first, second = run_processes(_in_process, tmp_path)
    assert first == second == _in_process(None)


def test_a_query_without_a_mask_has_no_part_in_the_scores(case):
    *_, pred, target, ignore, labels = case
    samples = [
        dict(pred_mask=p, gt_mask=t, ignore=i, class_id=c, query_name=f'q{n}')
        for n, (p, t, i, c) in enumerate(zip(pred, target, ignore, labels))
    ]
    scores = []
    bare = dict(pred_mask=pred[0], class_id=labels[0], query_name='bare')
    for given in (samples, [bare, *samples], [bare]):
        metric = FewShotMetric()
        metric.dataset_meta = dict(classes=[str(i) for i in range(15)], class_ids=range(5))
        metric.process(None, given)
        if len(given) == 1:
            with pytest.raises(DataError, match='none of the 1 queries has a mask'):
                metric.evaluate(1)
        else:
            scores.append((metric.evaluate(len(given)), len(metric.sample_scores)))
    assert scores[0] == scores[1]
