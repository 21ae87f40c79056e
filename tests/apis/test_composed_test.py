"""tools/test.py on composed retrieval: one job from images to table, curve and sheets."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from rs_mm.apis import test as run_test
from rs_mm.datasets.fake.patternnet import make_patternnet
from rs_mm.errors import ConfigError, DataError, MissingFileError
from tests.distributed import run_processes
from tests.weicom_toy import options

ROOT = Path(__file__).parents[2]
DEMO = str(ROOT / 'configs/demo/weicom_tiny_patterncom.py')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = make_patternnet(tmp_path_factory.mktemp('patternnet'), images_per_class=4, size=48)
    (root / 'images/river/river003.jpg').write_bytes(b'damaged')
    return root


def run(data, folder, cache=None, **kwargs):
    changes = kwargs.pop('changes', {})
    return run_test(
        DEMO,
        options={**options(data, cache or folder / 'cache'), **changes},
        work_dir=str(folder / 'work'),
        **kwargs,
    )


def log_of(folder):
    return max((folder / 'work').glob('*/*.log')).read_text()


@pytest.mark.filterwarnings('ignore:.*name an image the archive lacks')
def test_the_whole_job(data, tmp_path):
    metrics = run(
        data, tmp_path, show_dir=str(tmp_path / 'sheets'), out=str(tmp_path / 'metrics.json')
    )
    # images of one drawn class are alike even to random weights; chance is about 2 %
    assert metrics['Image only/average/mAP'] > 10
    assert json.loads((tmp_path / 'metrics.json').read_text()) == metrics
    log = log_of(tmp_path)
    assert 'mAP (%)' in log and 'WeiCom, lambda 0.6' in log
    assert 'images/s' in log and 'of the time waiting for data' in log
    assert '1 of 56 images cannot be read and are skipped' in log and 'river003.jpg' in log
    (folder,) = (tmp_path / 'work').glob('2*')
    with open(folder / 'composed_retrieval.csv') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 7
    assert float(rows[6]['mAP']) == pytest.approx(metrics['Image only/average/mAP'])
    assert (folder / 'lambda_curve.png').exists()
    sheets = sorted(path.name for path in (tmp_path / 'sheets').glob('*.png'))
    assert len(sheets) == 18 and sheets[0].startswith('color_00000_airplane')

    # again: what could not be read is tried, nothing else; other weights: everything is computed
    assert run(data, tmp_path) == metrics
    assert '55 of 56 images are in' in log_of(tmp_path)
    other = run(data, tmp_path, changes={'randomness.seed': 1})
    assert '0 of 56 images are in' in log_of(tmp_path)
    assert other != metrics


def _rank(rank, data, folder):
    folder = Path(folder)
    metrics = run(Path(data), folder / str(rank), cache=folder / 'cache', launcher='pytorch')
    return {key: torch.tensor(value) for key, value in metrics.items()}


@pytest.mark.filterwarnings('ignore:.*name an image the archive lacks')
def test_two_processes_give_what_one_does(data, tmp_path):
    alone = run(data, tmp_path / 'one')
    (tmp_path / 'out').mkdir()
    (tmp_path / '1').mkdir()
    both = run_processes(_rank, tmp_path / 'out', str(data), str(tmp_path))
    for metrics in both:
        assert {key: float(value) for key, value in metrics.items()} == pytest.approx(alone)
    arrays = [
        np.load(next((folder / 'cache').glob('*/features-*.npy')))
        for folder in (tmp_path, tmp_path / 'one')
    ]
    np.testing.assert_array_equal(*arrays)
    assert not list((tmp_path / 'cache').glob('*/shards'))
    encoded = int(re.search(r'INFO - (\d+) images in', log_of(tmp_path / '0'))[1])
    assert encoded == 32  # its half of the 4 batches


def test_bad_input_is_told_before_the_work(data, tmp_path):
    for changes, error, message in [
        ({'test_evaluator.lambdas': [2]}, ConfigError, r'lies in \[0, 1\]'),
        ({'test_evaluator.queries.attributes': ['size']}, ConfigError, 'choose a list out of'),
        ({'test_evaluator.queries.data_root': 'nowhere'}, MissingFileError, 'no table nowhere'),
        (
            {
                'model.init_cfg': dict(
                    _delete_=True, type='Pretrained', checkpoint='models/CLIP-tiny.bin'
                )
            },
            MissingFileError,
            'no weights models/CLIP-tiny.bin',
        ),
    ]:
        with pytest.raises(error, match=message):
            run(data, tmp_path, changes=changes)
    with pytest.raises(ConfigError, match='takes one test_evaluator'):
        run(data, tmp_path, out=str(tmp_path / 'x.pkl'))


def test_an_archive_without_a_readable_image(tmp_path):
    root = make_patternnet(tmp_path / 'data', images_per_class=1, size=16)
    for path in root.glob('images/*/*.jpg'):
        path.write_bytes(b'')
    with pytest.raises(DataError, match='none of the 14 images in .* can be read: .*001.jpg'):
        run(root, tmp_path, changes={'test_evaluator.ks': [5]})
