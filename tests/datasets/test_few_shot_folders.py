"""A few-shot set of one's own: lists from masks, classes and folds from the config."""

import numpy as np
import pytest
from PIL import Image

from rs_mm.datasets import FewShotFolders
from rs_mm.errors import ConfigError, DataError
from tools.dataset_converters import fewshot_lists

CLASSES = ('pond', 'barn', 'silo')


@pytest.fixture
def root(tmp_path):
    """Ten images in subfolders; image i shows pond, and barn or silo."""
    rng = np.random.default_rng(0)
    for i in range(10):
        mask = np.zeros((32, 32), np.uint8)
        mask[:8, :8], mask[20:30, 20:30], mask[0, 31] = 1, 2 + i % 2, 255
        for folder, picture in (
            ('images', rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)),
            ('masks', mask),
        ):
            path = tmp_path / folder / f'farm{i % 2}' / f'{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    return tmp_path


def lists(monkeypatch, root, *more):
    given = [str(root / 'masks'), str(root / 'lists'), '--classes', *CLASSES, *more]
    monkeypatch.setattr('sys.argv', ['fewshot_lists.py', *given])
    fewshot_lists.run(fewshot_lists.parse_args())


def test_episodes_of_own_classes(root, monkeypatch, capsys):
    lists(monkeypatch, root, '--folds', 'pond', 'barn,silo', '--val-share', '0.4')
    assert '12 entries' not in capsys.readouterr().err
    pipeline = [dict(type='LoadEpisode'), dict(type='PackEpisode')]
    common = dict(classes=CLASSES, folds=[['pond'], ['barn', 'silo']], pipeline=pipeline)
    test = FewShotFolders(str(root), 0, 'val', test_mode=True, **common)
    train = FewShotFolders(str(root), 0, 'trn', **common)
    assert len(test) == 4 and len(train) == 6
    assert {test.get_data_info(i)['class_name'] for i in range(4)} == {'pond'}
    assert {train.get_data_info(i)['class_name'] for i in range(6)} == {'barn', 'silo'}
    sample = test[0]['data_samples']
    assert sample.gt_mask.sum() == 64 and sample.ignore.sum() == 1
    assert sample.support_mask.sum() == 64
    names = {test.get_data_info(i)['query'] for i in range(4)}
    assert names.isdisjoint(train.get_data_info(i)['query'] for i in range(6))


def test_what_does_not_fit_is_said(root, monkeypatch):
    common = dict(classes=CLASSES)
    with pytest.raises(ConfigError, match="'barm', which is not a class; did you mean 'barn'"):
        FewShotFolders(str(root), 0, 'val', folds=[['pond'], ['barm', 'silo']], **common)
    with pytest.raises(ConfigError, match='must hold each class once'):
        FewShotFolders(str(root), 0, 'val', folds=[['pond'], ['barn']], **common)
    with pytest.raises(ConfigError, match='`folds` is 4, but there are 3 classes'):
        FewShotFolders(str(root), 0, 'val', folds=4, **common)
    monkeypatch.setattr(f'{__name__}.CLASSES', ('pond', 'barn'))
    with pytest.raises(DataError, match='holds the class 3, but 2 classes were named'):
        lists(monkeypatch, root)


def test_folds_of_equal_size():
    assert FewShotFolders.read_folds(2, CLASSES) == [[0, 1], [2]]
    assert FewShotFolders.read_folds(3, CLASSES) == [[0], [1], [2]]
