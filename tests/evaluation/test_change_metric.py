"""Scores of change maps against the recorded ones and by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from rs_mm.errors import ConfigError, DataError
from rs_mm.evaluation import ChangeMetric
from rs_mm.evaluation.change_scores import change_scores, confusion_matrix
from tests import fill
from tests.parity import load_case

MANIFEST, _ = load_case('dsqnet', 'dsqnet_iou_metric')


def blobs():
    found = [
        torch.from_numpy(fill.blob_mask(f'dsq_iou_{name}', (4, 64, 80))).long()
        for name in ('pred', 'gt')
    ]
    return found


def sets():
    prediction, label = blobs()
    ignored = label.clone()
    ignored[1, :7] = 255
    zero = torch.zeros_like(label)
    return {
        'all': (prediction, label),
        'ignored rows': (prediction, ignored),
        'first sample only': (prediction[:1], label[:1]),
        'nothing changed, nothing predicted': (zero[:2], zero[:2]),
        'nothing predicted': (zero[:2], label[:2]),
    }


def samples(prediction, label):
    return [
        dict(pred_sem_seg=dict(data=p[None]), gt_sem_seg=dict(data=g[None]))
        for p, g in zip(prediction, label)
    ]


def evaluate(prediction, label, batch=1, **kwargs):
    metric = ChangeMetric(**kwargs)
    metric.dataset_meta = dict(classes=('unchanged', 'changed'))
    items = samples(prediction, label)
    for i in range(0, len(items), batch):
        metric.process({}, items[i : i + batch])
    return metric.evaluate(len(items))


@pytest.mark.parametrize('name', MANIFEST['results'])
def test_recorded_scores(name):
    expected = MANIFEST['results'][name]
    prediction, label = sets()[name]
    counts = confusion_matrix(prediction, label)
    hit, true, found = counts.diag(), counts.sum(1), counts.sum(0)
    areas = dict(intersection=hit, union=true + found - hit, prediction=found, label=true)
    for key, values in expected['areas_per_class'].items():
        assert areas[key].tolist() == values
    scores = change_scores(counts)
    for key, values in expected['per_class'].items():
        np.testing.assert_allclose(scores[key], np.array(values, float), atol=1e-6, err_msg=key)
    summary = evaluate(prediction, label)
    for key, value in expected['summary_percent_rounded_2'].items():
        assert summary[key] == round(value, 2), key


@pytest.mark.parametrize('groups', [('mFscore', 'mIoU'), ('mIoU',), ()])
def test_the_names_it_reports(groups):
    metric = ChangeMetric(iou_metrics=groups)
    metric.dataset_meta = dict(classes=('unchanged', 'built', 'gone'))
    assert metric.result_keys() == list(metric.compute_metrics([('pair', np.eye(3), None)]))


def test_batches_do_not_matter():
    assert evaluate(*blobs(), batch=4) == evaluate(*blobs(), batch=1)


def test_changed_class_and_kappa():
    prediction, label = blobs()
    found = evaluate(prediction, label)
    expected = MANIFEST['results']['all']['per_class']
    for key, column in (
        ('F1', 'Fscore'),
        ('Precision', 'Precision'),
        ('Recall', 'Recall'),
        ('IoU', 'IoU'),
    ):
        assert found[f'{key}_changed'] == round(expected[column][1] * 100, 2)
    kappa = cohen_kappa_score(label.flatten(), prediction.flatten())
    assert found['kappa'] == round(kappa * 100, 2)


def test_nan_and_its_replacement():
    label = torch.zeros(1, 4, 4, dtype=torch.long)
    label[0, 0] = 1
    nothing = torch.zeros_like(label)
    assert np.isnan(evaluate(nothing, label)['F1_changed'])
    assert evaluate(nothing, label, nan_to_num=0)['F1_changed'] == 0


def test_bad_input():
    one = torch.ones(1, 4, 4, dtype=torch.long)
    with pytest.raises(DataError, match='must have the same size'):
        evaluate(one[:, :3], one)
    with pytest.raises(DataError, match='holds the class 7'):
        evaluate(one, one * 7)
    with pytest.raises(DataError, match='label holds the class -1'):
        evaluate(one, -one)
    # one value above the range would be counted as another pair of classes
    with pytest.raises(DataError, match='prediction holds the class 2, .*decode_head.num_classes'):
        evaluate(one * 2, one * 0)
    with pytest.raises(ConfigError, match=r"iou_metrics=\['mDice'\].* mFscore, mIoU"):
        ChangeMetric(iou_metrics=['mDice'])
    metric = ChangeMetric()
    metric.dataset_meta = dict(classes=('unchanged', 'changed'))
    with pytest.raises(DataError, match='a score needs labels'):
        metric.process({}, [dict(pred_sem_seg=dict(data=one))])


def _evaluate_on(rank, port, results):
    import torch.distributed as dist

    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    prediction, label = blobs()
    # five samples on two processes: the last one is padding and must not count
    order = [0, 1, 2, 3, 0, 1][rank::2]
    metric = ChangeMetric()
    metric.dataset_meta = dict(classes=('unchanged', 'changed'))
    prediction, label = (torch.cat([x, x[:1]]) for x in (prediction, label))
    metric.process({}, samples(prediction[order], label[order]))
    found = metric.evaluate(5)
    if rank == 0:
        torch.save(found, results)
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    import socket

    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    torch.multiprocessing.spawn(_evaluate_on, (port, str(tmp_path / 'found.pt')), nprocs=2)
    prediction, label = (torch.cat([x, x[:1]]) for x in blobs())
    assert torch.load(tmp_path / 'found.pt') == evaluate(prediction, label)
