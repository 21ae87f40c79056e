import csv
import re

import numpy as np
import pytest
import torch

from rs_mm.errors import ConfigError, DataError
from rs_mm.evaluation.composed_retrieval_metric import ComposedRetrievalMetric, build_fusions
from rs_mm.registry import TASK_UTILS
from rs_mm.retrieval.composed import score_archive, top_k
from rs_mm.retrieval.fusion import Fusion
from rs_mm.visualization.composed_sheet import draw_lambda_curves
from tests.parity import load_case
from tests.retrieval import weicom_cases as cases

CASE = 'patterncom_structured'


def metric(**kwargs):
    queries = dict(
        type='PatternCom',
        data_root=str(cases.tables(CASE)),
        attributes=kwargs.pop('attributes', ['color', 'shape']),
    )
    return ComposedRetrievalMetric(queries, **kwargs)


def evaluate(part):
    return part.evaluate_archive(
        [f'images/{name}' for name in cases.archive_names()],
        cases.features(CASE),
        cases.prompt_features,
    )


def test_the_published_table_to_the_last_digit():
    manifest, recorded = load_case('weicom', CASE)
    names = list(manifest['settings']['n_queries'])
    report = evaluate(metric(attributes=names, lambdas=[0.3, 0.5, 0.6], original_rounding=True))
    assert [fusion.name for fusion in report.fusions] == [
        'Image only',
        'Text only',
        'Average',
        'WeiCom, lambda 0.3',
        'WeiCom, lambda 0.5',
        'WeiCom, lambda 0.6',
    ]
    keys = [
        'image_only',
        'text_only',
        'average_similarities',
        'weighted_similarities_norm_0.3',
        'weighted_similarities_norm_0.5',
        'weighted_similarities_norm_0.6',
    ]
    expected = [[recorded[f'{name}_{key}_mean'] for name in names] for key in keys]
    np.testing.assert_allclose(report.values, expected, rtol=0, atol=1e-9)
    means = manifest['settings']['mean_AP_over_attributes']
    assert report.means[0, -1] == pytest.approx(means['Image only'][0])
    np.testing.assert_allclose(report.means[3:, -1], means['Weighted Similarities Norm'])


def test_exact_values_are_the_default():
    exact, rounded = evaluate(metric()), evaluate(metric(original_rounding=True))
    assert not torch.equal(exact.values, rounded.values)
    torch.testing.assert_close(exact.values, rounded.values, rtol=0, atol=0.02)


def test_the_report(tmp_path):
    report = evaluate(metric(lambdas=[0.5, 0.2], ks=(5, 10)))
    table = report.table()
    assert 'WeiCom, lambda 0.2' in table and 'average over color, shape (%)' in table
    report.write_csv(tmp_path / 'x.csv')
    with open(tmp_path / 'x.csv') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 3
    assert list(rows[0]) == [
        'method',
        'lambda',
        'set',
        'pairs',
        'R@5',
        'R@10',
        'P@5',
        'P@10',
        'mAP',
    ]
    last = rows[-1]
    assert (last['method'], last['lambda'], last['set']) == ('WeiCom', '0.2', 'average')
    assert float(last['mAP']) == pytest.approx(float(report.means[-1, -1]))
    metrics = report.metrics()
    assert metrics['WeiCom, lambda 0.2/average/mAP'] == pytest.approx(float(last['mAP']))
    curve = report.curves()['WeiCom']
    assert [lam for lam, _ in curve] == [0.2, 0.5]
    best = [fusion.name for fusion in report.best_fusions()]
    assert best[:3] == ['Image only', 'Text only', 'Average'] and len(best) == 4
    draw_lambda_curves(report, tmp_path / 'x.png')
    assert (tmp_path / 'x.png').stat().st_size > 5000


def test_one_lambda_makes_no_curve():
    assert evaluate(metric(lambdas=[0.5])).curves() == {}


def test_every_fusion_is_built_by_name():
    fusions = build_fusions(
        [
            'ImageOnly',
            'TextOnly',
            'AverageFusion',
            'ProductFusion',
            'MinimumFusion',
            'WeightedFusion',
            'WeiCom',
            dict(type='WeiCom', lam=0.9),
            dict(type='MinimumFusion', published=True),
            dict(type='ProductFusion', normalize=True),
        ],
        [0.1, 0.2],
    )
    assert [fusion.name for fusion in fusions] == [
        'Image only',
        'Text only',
        'Average',
        'Product',
        'Minimum',
        'Weighted, lambda 0.1',
        'Weighted, lambda 0.2',
        'WeiCom, lambda 0.1',
        'WeiCom, lambda 0.2',
        'WeiCom, lambda 0.9',
        'Minimum, as published',
        'Product, normalised',
    ]


def test_an_own_fusion_is_one_class():
    @TASK_UTILS.register_module()
    class MaximumFusion(Fusion):
        title = 'Maximum'

        def fuse(self, image, text):
            return torch.maximum(image, text)

    try:
        report = evaluate(metric(methods=['MaximumFusion', 'ImageOnly']))
        assert report.values.shape == (2, 2, 9)
    finally:
        TASK_UTILS.module_dict.pop('MaximumFusion')


def test_basic_has_its_rows_in_table_and_csv(tmp_path):
    weak = dict(type='BASIC', harris_lambda=0.02, query_expansion=False)
    report = evaluate(metric(methods=['WeiCom', 'BASIC', weak, 'SumFusion'], lambdas=[0.3, 0.5]))
    assert [fusion.name for fusion in report.fusions] == [
        'WeiCom, lambda 0.3',
        'WeiCom, lambda 0.5',
        'BASIC',
        'BASIC without expansion, harris_lambda 0.02',
        'Sum',
    ]
    alone = evaluate(metric(methods=['BASIC']))
    torch.testing.assert_close(report.values[2], alone.values[0])
    # one pair by hand
    queries, basic, features = report.queries[0], report.fusions[2], cases.features(CASE)
    text = basic.encode_texts(queries.prompts, cases.prompt_features)
    torch.testing.assert_close(report.prompt_features[0][2], text)
    best, _ = top_k(queries, 3, features, [text], [basic], 5)
    scores = score_archive(basic, features[queries.images[3:4]], text[queries.texts[3:4]], features)
    assert torch.equal(best[0], scores[0].topk(5).indices)
    report.write_csv(tmp_path / 'x.csv')
    with open(tmp_path / 'x.csv') as file:
        rows = [row for row in csv.DictReader(file) if row['method'].startswith('BASIC')]
    assert len(rows) == 6 and {row['lambda'] for row in rows} == {''}
    with pytest.raises(ConfigError, match='holds "BASIC" twice'):
        metric(methods=['BASIC', dict(type='BASIC')])


def test_features_that_are_not_finite_are_refused():
    names, features = cases.archive_names(), cases.features(CASE).clone()
    features[3] = torch.nan
    with pytest.raises(DataError, match=f"embedding of image '{names[3]}' is NaN"):
        metric().evaluate_archive(names, features, cases.prompt_features)
    with pytest.raises(DataError, match='embedding of text .* is NaN'):
        metric().evaluate_archive(
            names, cases.features(CASE), lambda texts: cases.prompt_features(texts) * torch.nan
        )


def test_bad_values_are_told():
    with pytest.raises(ConfigError, match=r'lies in \[0, 1\]; got 1.5'):
        metric(lambdas=[0.5, 1.5])
    for key, values in (('methods', []), ('methods', 'WeiCom'), ('lambdas', 0.5), ('lambdas', [])):
        with pytest.raises(ConfigError, match=rf'{key}={re.escape(repr(values))}; give a list'):
            metric(**{key: values})
    with pytest.raises(ConfigError, match=r'ks is \[0\]; give a list'):
        metric(ks=[0])
    with pytest.raises(ConfigError, match='best 5000, but the archive holds'):
        evaluate(metric(ks=[5, 5000]))
    with pytest.raises(ConfigError, match='choose a list out of color'):
        evaluate(metric(attributes=['colour']))
    with pytest.raises(ConfigError, match="test_cfg=dict.type='ComposedRetrievalLoop'"):
        metric().process(None, [])
