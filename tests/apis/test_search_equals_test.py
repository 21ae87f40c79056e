"""ImageSearch against tools/test.py on the same images: vectors to the last bit, and the order."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rs_mm.apis import ImageSearch
from rs_mm.apis import test as run_test
from rs_mm.datasets.fake.multilabel_images import make_multilabel
from rs_mm.datasets.fake.patternnet import make_patternnet
from rs_mm.engine.composed_retrieval_loop import ComposedRetrievalLoop
from rs_mm.evaluation import MultiLabelRetrievalMetric
from rs_mm.registry import METRICS
from rs_mm.retrieval.composed import top_k
from tests.weicom_toy import options as weicom_options

from .test_grn_runs import CONFIG as GRN
from .test_grn_runs import options as grn_options
from .test_oml_runs import UCM as OML
from .test_oml_runs import options as oml_options

ROOT = Path(__file__).parents[2]
WEICOM = ROOT / 'configs/demo/weicom_tiny_patterncom.py'
MEMORY = {'custom_hooks.1.dataloader': None}


@METRICS.register_module()
class KeepRanking(MultiLabelRetrievalMetric):
    """Keeps what a test run embeds and ranks, with every image as a query."""

    kept = None

    def __init__(self, prefix=None, collect_device='cpu', **kwargs):
        super().__init__(at=[5], shared_at=[1], query_fraction=0.5)

    def split(self, names):
        return np.arange(len(names)), np.arange(len(names))

    def compute_metrics(self, results):
        KeepRanking.kept = {name: vector for vector, _, name in results}
        found = super().compute_metrics(results)
        KeepRanking.ranking = self.retrieved
        return found


def grn_case(root):
    make_multilabel(root, 'dfc15', images=120, size=32)
    return GRN, grn_options(str(root)) | MEMORY


def oml_case(root):
    make_multilabel(root, 'ucm', images=120, size=32)
    return OML, oml_options(root)


@pytest.mark.parametrize('case', [grn_case, oml_case])
def test_an_embedder(tmp_path, case):
    config, options = case(tmp_path / 'data')
    options = {key: value for key, value in options.items() if 'evaluator' not in key}
    options |= {'test_dataloader.batch_size': 1, 'test_evaluator': [dict(type='KeepRanking')]}
    run_test(config, options=options, work_dir=str(tmp_path / 'work'))
    kept, ranking = KeepRanking.kept, KeepRanking.ranking
    # the tested images alone are the archive
    (tmp_path / 'archive').mkdir()
    for path in (tmp_path / 'data').rglob('*'):
        if path.suffix in ('.png', '.jpg', '.tif') and (path.stem in kept or path.name in kept):
            shutil.copy(path, tmp_path / 'archive')
    weights = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=_initial(config, options).state_dict()), weights)
    search = ImageSearch(tmp_path / 'archive', config, weights, tmp_path / 'index', options=options)
    assert len(search) == len(kept) > 20
    for number, name in enumerate(ranking.names):
        record = next(r for r in _records(search) if name in (Path(r.path).stem, Path(r.path).name))
        np.testing.assert_array_equal(search.index.fetch([record.key])[0], kept[name])
        if number % 5 == 0:
            hits = search(record.path, k=10)
            found = [Path(hit.path).stem for hit in hits]
            best = [Path(ranking.names[row]).stem for row in ranking.results[number, :10]]
            assert found == best
            np.testing.assert_allclose(
                [hit.score for hit in hits], ranking.similarity[number, :10], atol=1e-6
            )


def _initial(config, options):
    from rs_mm.launch.model_loading import load_model

    return load_model(config, options=options).model


def _records(search):
    keys, _ = next(iter(search.index.scan()))
    return search.index.records(keys)


@pytest.mark.filterwarnings('ignore:.*name an image the archive lacks')
def test_composed_queries(tmp_path, monkeypatch):
    root = make_patternnet(tmp_path / 'set', images_per_class=4, size=40)
    options, loops = weicom_options(root, tmp_path / 'cache'), []
    run = ComposedRetrievalLoop.run
    monkeypatch.setattr(ComposedRetrievalLoop, 'run', lambda self: loops.append(self) or run(self))
    run_test(WEICOM, options=options, work_dir=str(tmp_path / 'work'))
    (loop,) = loops
    archive, report = loop.archive, loop.report
    search = ImageSearch(root / 'images', WEICOM, index_dir=tmp_path / 'index', options=options)
    by_path = {record.path: record.key for record in _records(search)}
    own = search.index.fetch([by_path[path] for path in archive.paths])
    np.testing.assert_array_equal(own, archive.features.numpy())
    methods = [f for f in report.fusions if f.name in ('WeiCom, lambda 0.3', 'WeiCom, lambda 0.6')]
    assert len(methods) == 2
    for queries, prompts in zip(report.queries, report.prompt_features):
        of_set = [prompts[report.fusions.index(fusion)] for fusion in methods]
        for pair in range(0, len(queries), max(1, len(queries) // 4)):
            best, _ = top_k(queries, pair, archive.features, of_set, methods, 8)
            image = by_path[archive.paths[int(queries.images[pair])]]
            text = queries.prompts[queries.texts[pair]]
            for fusion, rows in zip(methods, best):
                hits = search(image, text, lam=fusion.lam, k=8)
                assert [hit.path for hit in hits] == [archive.paths[row] for row in rows]
