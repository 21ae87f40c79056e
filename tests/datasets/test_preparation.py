"""Preparing data: lists of a part of a few-shot set, WHU-CD's tiles, crops that do not fit."""

import numpy as np
import pytest
import tifffile
from mmengine.config import Config
from PIL import Image

from rs_mm.analysis.dataset_check import check_config
from rs_mm.converters.whu_cd import cut_whu_cd
from rs_mm.datasets.change_detection import WHU_CD_Dataset
from rs_mm.datasets.episodes import PACKED, read_entries
from rs_mm.datasets.few_shot_dataset import DLRSD5iDataset
from rs_mm.datasets.few_shot_lists import write_lists
from rs_mm.errors import DataError, MissingFileError


def test_lists_of_the_images_that_are_there(tmp_path):
    entries = read_entries(PACKED / 'dlrsd' / 'val' / 'fold1.txt.gz')
    label = entries[0][1]
    names = [name for name, other in entries if other == label][:3]
    dataset = DLRSD5iDataset.__new__(DLRSD5iDataset)
    dataset.data_root = str(tmp_path)
    for name in names:
        for path in dataset.files(name):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
    written = write_lists('dlrsd_5i', str(tmp_path), str(tmp_path / 'lists'))
    kept = {path.relative_to(tmp_path / 'lists').as_posix(): count for path, count, _ in written}
    assert kept['val/fold1.txt'] >= 3 and set(kept) == {
        f'{split}/fold{fold}.txt' for split in ('trn', 'val') for fold in range(3)
    }
    found = read_entries(tmp_path / 'lists' / 'val' / 'fold1.txt')
    assert set(names) == {name for name, _ in found} and (names[0], label) in found


def test_lists_without_images(tmp_path):
    with pytest.raises(DataError, match='no image of the lists of isaid_5i .*missing is .*/P1092_'):
        write_lists('isaid_5i', str(tmp_path), str(tmp_path / 'lists'))
    with pytest.raises(MissingFileError, match='give the one of the set'):
        write_lists('isaid_5i', str(tmp_path / 'none'), str(tmp_path))


def whu(folder, height=130, width=200):
    generator = np.random.default_rng(0)
    images = {}
    for area in ('train', 'test'):
        for part, name in dict(A='before', B='after', label='change_label').items():
            shape = (height, width) if part == 'label' else (height, width, 3)
            image = generator.integers(0, 256, shape, dtype=np.uint8)
            if part == 'label':
                image = np.where(image > 127, 255, 0).astype(np.uint8)
            path = folder / area / f'2012_{name}.tif' if part == 'A' else folder / area / name
            path = path.with_suffix('.tif')
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, image)
            images[area, part] = image
    return images


def test_whu_cd_tiles_are_read(tmp_path):
    images = whu(tmp_path / 'full')
    counts = cut_whu_cd(tmp_path / 'full', tmp_path / 'out', tile=64, val=0.34)
    assert counts == dict(train=4, val=2, test=6)
    piece = np.asarray(Image.open(tmp_path / 'out' / 'B' / 'test_001_002.png'))
    assert np.array_equal(piece, images['test', 'B'][64:128, 128:192])
    dataset = WHU_CD_Dataset(
        data_root=str(tmp_path / 'out'),
        ann_file='list/val.txt',
        data_prefix=dict(img_path_from='A', img_path_to='B', seg_map_path='label'),
        pipeline=[],
    )
    assert len(dataset) == 2


def test_whu_cd_images_that_do_not_fit(tmp_path):
    whu(tmp_path, 40)
    with pytest.raises(DataError, match='40 x 200 is less than a tile'):
        cut_whu_cd(tmp_path, tmp_path / 'out', tile=64)
    (tmp_path / 'train' / 'after.tif').unlink()
    with pytest.raises(MissingFileError, match='no image with after or 2016'):
        cut_whu_cd(tmp_path, tmp_path / 'out', tile=32)


def test_no_sample_fits_the_crop(tmp_path):
    whu(tmp_path / 'full')
    cut_whu_cd(tmp_path / 'full', tmp_path / 'out', tile=64)
    Config.fromfile('configs/DSQNet/DSQNet_swin_imp_256x256_100e_whucd_lr1e-4_bs8_wd0.01.py').dump(
        tmp_path / 'config.py'
    )
    options = {'train_dataloader.dataset.data_root': str(tmp_path / 'out')}
    report = check_config(tmp_path / 'config.py', ['train'], 1, options)
    (problem,) = report['train']['problems']
    assert 'no sample fits: 5 of the 5 train samples are smaller than the crop of 256 x 256' in (
        problem
    )
