"""A row per sample, the worst pictures and the curves of the systems that rank and segment."""

import csv

import pytest

from rs_mm.apis import test
from rs_mm.apis.comparison_sheets import draw_differences
from rs_mm.datasets.fake.few_shot_scenes import make_isaid_5i
from rs_mm.datasets.fake.multilabel_images import make_multilabel
from rs_mm.datasets.fake.patternnet import make_patternnet
from rs_mm.errors import ConfigError

ROWS = ('train', 'val', 'test')


def run(config, data, tmp_path, options=None, name='a', **settings):
    folder = tmp_path / name
    options = {**{f'{s}_dataloader.dataset.data_root': str(data) for s in ROWS}, **(options or {})}
    scores = test(
        f'configs/demo/{config}',
        None,
        options,
        work_dir=folder,
        out_samples=str(folder / 'samples.csv'),
        show_dir=str(folder / 'worst'),
        worst=2,
        **settings,
    )
    with open(folder / 'samples.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len({row['sample'] for row in rows}) == len(rows)
    return scores, rows, sorted(path.name for path in (folder / 'worst').iterdir())


def mean(rows, key):
    values = [float(row[key]) for row in rows if row[key]]
    return sum(values) / len(values)


@pytest.mark.slow
def test_retrieval_of_multi_labels(tmp_path):
    make_multilabel(tmp_path / 'data', images=150, size=32)
    args = ('oml_r18_64_12e_fake_ucm.py', tmp_path / 'data', tmp_path)
    at = {'test_evaluator.at': [5], 'test_evaluator.shared_at': [1]}
    scores, rows, pictures = run(*args, at, out_curves=str(tmp_path / 'curves'))
    assert mean(rows, 'mAP_shared') == pytest.approx(scores['retrieval/mAP_shared'], abs=1e-6)
    lowest = sorted((float(r['mAP_easy'] or 9), r['sample']) for r in rows)[:2]
    assert pictures == sorted(f'{name}.png' for _, name in lowest)
    assert (tmp_path / 'curves' / 'class_scores_MultiLabelRetrievalMetric.csv').is_file(), list(
        (tmp_path / 'curves').iterdir()
    )
    run(*args, {**at, 'randomness.seed': 1}, 'b')
    drawn = draw_differences(
        tmp_path / 'a' / 'samples.csv', tmp_path / 'b' / 'samples.csv', tmp_path / 'both', 1
    )
    assert len(drawn) == 1 and drawn[0].stat().st_size > 10_000


@pytest.mark.slow
def test_composed_retrieval(tmp_path):
    make_patternnet(tmp_path / 'data')
    options = {
        'test_dataloader.dataset.data_root': str(tmp_path / 'data'),
        'test_evaluator.queries.data_root': str(tmp_path / 'data' / 'PatternCom'),
        'test_cfg.cache_dir': str(tmp_path / 'cache'),
    }
    folder = tmp_path / 'a'
    scores = test(
        'configs/demo/weicom_tiny_patterncom.py',
        None,
        options,
        work_dir=folder,
        out_samples=str(folder / 'samples.csv'),
        show_dir=str(folder / 'worst'),
        worst=2,
    )
    with open(folder / 'samples.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    method = list(rows[0])[2]
    sets = {row['sample'].partition(':')[0] for row in rows}
    means = [
        mean([row for row in rows if row['sample'].startswith(f'{one}:')], method) for one in sets
    ]
    assert sum(means) / len(means) == pytest.approx(scores[f'{method}/average/mAP'], abs=1e-6)
    assert len(list((folder / 'worst').iterdir())) == 2


@pytest.mark.slow
def test_few_shot_episodes(tmp_path):
    make_isaid_5i(tmp_path / 'data', size=64)
    lists = {f'{s}_dataloader.dataset.list_dir': str(tmp_path / 'data' / 'lists') for s in ROWS}
    args = ('sccnet_fake_isaid_fold0.py', tmp_path / 'data', tmp_path, lists)
    _, rows, pictures = run(*args)
    assert {'IoU', 'FB_IoU'} <= set(rows[0]) and len(pictures) == 2
    assert [int(row['row']) for row in rows] == list(range(len(rows)))


def test_worst_needs_a_folder():
    with pytest.raises(ConfigError, match='--worst N draws into the folder of --show-dir'):
        test('configs/demo/weicom_tiny_patterncom.py', worst=3)
