"""The retrieval metric: protocol, lists, re-rankers, PCA, bad inputs; and its pictures."""

import numpy as np
import pytest
import torch

from rs_mm.engine.hooks.retrieval_visualization import RetrievalVisualizationHook
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.evaluation import MultiLabelRetrievalMetric
from rs_mm.retrieval import PCA
from rs_mm.visualization.retrieval_sheet import OVERLAP_LEGEND, draw_retrieval, result_panel, to_rgb
from tests import fill
from tests.distributed import run_processes
from tests.parity import load_case


def samples(count=400):
    _, expected = load_case('oml', 'metrics')
    labels = expected['labels'][:count].astype(np.float32)
    vectors = (labels @ fill.normal('oml/ret/proj', (17, 32))) * 0.35
    vectors = vectors + fill.normal('oml/ret/noise', (400, 32))[:count]
    return [
        dict(embedding=torch.from_numpy(v), gt_label=torch.from_numpy(y), name=f'i{n}')
        for n, (v, y) in enumerate(zip(vectors, labels))
    ]


def run(data, **options):
    metric = MultiLabelRetrievalMetric(**options)
    metric.process(None, data)
    return metric.evaluate(len(data)), metric


def test_both_protocols():
    _, expected = load_case('oml', 'metrics')
    result, metric = run(samples())
    assert result['retrieval/mAP_hard'] == pytest.approx(float(expected['std_hard_map']), rel=1e-5)
    assert result['retrieval/nDCG@100'] == pytest.approx(float(expected['std_nDCG_at_100']))
    assert np.array_equal(metric.retrieved.queries, expected['qr_idx'])
    # the original's export: the ten best of the first 20 queries, as columns
    ranks = expected['db_idx'][expected['vis_indices'].T]
    assert np.array_equal(metric.retrieved.results[:20, :10], ranks)
    result, _ = run(samples(), mean_chunk=30, thresholds={'easy': 0.6, 'medium': 0.4, 'hard': 0.2})
    assert result['retrieval/mAP_easy'] == pytest.approx(
        float(expected['ben_chunk30_easy_map']), rel=1e-5
    )


def test_rerankers_are_reported_beside_the_plain_ranking():
    _, expected = load_case('oml', 'rerank')
    result, _ = run(
        samples(),
        rerank=[
            dict(type='AverageQE', k=3),
            dict(type='AlphaQE', k=10, alpha=3, name='mine'),
            dict(type='LabelAffinity'),
        ],
    )
    for ours, theirs in (
        ('', 'plain'),
        ('qe3/', 'qe_k3'),
        ('mine/', 'aqe_k10_a3'),
        ('ja/', 'ja_stable'),
    ):
        assert result[f'retrieval/{ours}mAP_medium'] == pytest.approx(
            float(expected[f'{theirs}_medium_map']), rel=1e-5
        )


def test_lists_of_queries_and_database(tmp_path):
    (tmp_path / 'queries.csv').write_text('i3,x\ni1\n\n')
    result, metric = run(samples(), queries=str(tmp_path / 'queries.csv'))
    assert metric.retrieved.queries.tolist() == [3, 1]
    assert metric.retrieved.results.shape == (2, 100)
    database = [f'i{n}' for n in range(300)]
    _, metric = run(samples(), queries=['i350'], database=database, kept_level='easy')
    assert metric.retrieved.results.max() < 300
    with pytest.raises(DataError, match="queries: 'i999' is not an image"):
        run(samples(), queries=['i999'])
    with pytest.raises(DataError, match=r"queries: 'i1' is listed twice \(2 of 4 names"):
        run(samples(), queries=['i1', 'i2', 'i1', 'i1'])
    with pytest.raises(MissingFileError, match='none.csv'):
        run(samples(), queries='none.csv')
    with pytest.raises(DataError, match='the query set is empty'):
        run(samples(), queries=[])
    with pytest.raises(ConfigError, match='database is given without queries'):
        MultiLabelRetrievalMetric(database=['i1'])


def test_pca(tmp_path):
    data = samples()
    whitened, _ = run(data, pca=dict(dims=16))
    full, _ = run(data, pca=dict(dims=32, whiten=False))
    plain, _ = run(data)
    assert set(whitened) == set(plain) and whitened != plain
    # a rotation and a shift: near, not equal
    assert full['retrieval/mAP_easy'] == pytest.approx(plain['retrieval/mAP_easy'], rel=0.2)
    vectors = torch.nn.functional.normalize(torch.stack([d['embedding'] for d in data]))
    PCA.fit(vectors, 8).save(tmp_path / 'pca.npz')
    from_file, _ = run(data, pca=dict(path=tmp_path / 'pca.npz'))
    assert 0 < from_file['retrieval/mAP_easy'] < 1


def test_bad_inputs():
    data = samples(150)
    data[7]['embedding'] = torch.full((32,), float('nan'))
    with pytest.raises(DataError, match="embedding of image 'i7' is NaN"):
        run(data, at=[10])
    data = samples(150)
    data[3]['gt_label'] = torch.ones(16)
    with pytest.raises(DataError, match=r'differ in length: \[16, 17\]'):
        run(data, at=[10])
    del data[3]['gt_label']
    with pytest.raises(DataError, match="'i3' has no gt_label"):
        run(data, at=[10])
    with pytest.raises(ConfigError, match='best 100, but the database holds 40'):
        run(samples(50))
    with pytest.raises(ConfigError, match='AverageQE: k is 50, but the database holds 40'):
        run(samples(50), at=[10], rerank=[dict(type='AverageQE', k=50)])
    with pytest.raises(ConfigError, match="kept_level is 'strict'"):
        MultiLabelRetrievalMetric(kept_level='strict')
    with pytest.raises(ConfigError, match='query_fraction is 1.5'):
        MultiLabelRetrievalMetric(query_fraction=1.5)
    for key, value in [
        ('at', 5),
        ('at', []),
        ('at', [0]),
        ('shared_at', [0]),
        ('at', [2.5]),
        ('at', '55'),
    ]:
        with pytest.raises(ConfigError, match=f'^{key} is .* a list of whole numbers from 1'):
            MultiLabelRetrievalMetric(**{key: value})
    with pytest.raises(ConfigError, match='mean_chunk is 0; give the number of queries'):
        MultiLabelRetrievalMetric(mean_chunk=0)
    for k in (0, -2):
        with pytest.raises(ConfigError, match=f'AverageQE: k is {k}; it is the number'):
            MultiLabelRetrievalMetric(rerank=[dict(type='AverageQE', k=k)])
    with pytest.raises(ConfigError, match='AlphaQE: alpha is -1'):
        MultiLabelRetrievalMetric(rerank=[dict(type='AlphaQE', alpha=-1)])
    with pytest.raises(ConfigError, match=r"two re-rankers with the same name: \['qe5', 'qe5'\]"):
        MultiLabelRetrievalMetric(rerank=[dict(type='AverageQE', k=5)] * 2)
    with pytest.raises(DataError, match='the query set is empty: 3 images'):
        run(samples(3), at=[1])


class FakeDataset:
    metainfo = dict(classes=[f'c{i}' for i in range(17)])

    def __getitem__(self, row):
        return dict(inputs=torch.rand(10, 20, 30))


def test_sheet_of_a_query():
    _, metric = run(samples())
    hook = RetrievalVisualizationHook(topk=6, bands=(2, 1, 0))
    name, sheet = hook.sheet(metric.retrieved, FakeDataset(), 4)
    assert name == f'i{metric.retrieved.queries[4]}'
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    assert sheet.shape[1] > 6 * 192  # query and five results beside each other


def test_overlap_is_the_colour_of_the_frame():
    image = np.zeros((8, 8, 3), np.uint8)
    frames = [
        result_panel(image, 'a', ['x'], 0.9, overlap).frame
        for overlap in (1.0, 0.5, 0.2, 0.0, None)
    ]
    assert frames == [*OVERLAP_LEGEND.values(), None]
    assert 'similarity 0.900' in result_panel(image, 'a', ['x'], 0.9).caption
    assert draw_retrieval(result_panel(image, 'q'), []).shape[2] == 3


def test_to_rgb():
    image = np.random.default_rng(0).integers(0, 4000, (6, 5, 10)).astype(np.uint16)
    shown = to_rgb(image, (2, 1, 0))
    assert shown.dtype == np.uint8 and shown.min() == 0 and shown.max() == 255
    assert to_rgb(image[..., :2]).shape == (6, 5, 3)
    photo = np.random.default_rng(0).integers(0, 255, (4, 4, 3)).astype(np.uint8)
    assert np.array_equal(to_rgb(photo), photo)


def _share(rank):
    metric = MultiLabelRetrievalMetric(at=[20], rerank=[dict(type='AverageQE', k=3)])
    # samplers deal the images out in turn
    metric.process(None, samples()[rank::2])
    return {key: float(value) for key, value in metric.evaluate(400).items()}


def test_two_processes_equal_one(tmp_path):
    expected, _ = run(samples(), at=[20], rerank=[dict(type='AverageQE', k=3)])
    for found in run_processes(_share, tmp_path):
        assert found == pytest.approx(expected)


def test_cutoffs_are_checked_before_a_dataset_without_names_is_embedded():
    metric = MultiLabelRetrievalMetric(at=[20], shared_at=[5], query_fraction=0.2)
    metric.check_dataset(list(range(30)))
    with pytest.raises(ConfigError, match='at needs the best 20, but the database holds 8'):
        metric.check_dataset(list(range(10)))
