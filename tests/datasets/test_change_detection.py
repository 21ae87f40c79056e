"""Change-detection datasets: listing, label encodings, and what is said about broken data."""

import shutil

import numpy as np
import pytest
from PIL import Image

from rs_mm.datasets import (
    DSIFN_Dataset,
    LEVIR_CD_Dataset,
    S2Looking_Dataset,
    WHU_CD_Dataset,
)
from rs_mm.datasets.fake.change_pairs import make_dsifn, make_levir_cd, make_s2looking, make_whu_cd
from rs_mm.datasets.seeding import SeededIndex
from rs_mm.errors import ConfigError, DataError, MissingFileError

PIPELINE = [
    dict(type='rs_mm.MultiImgLoadImageFromFile'),
    dict(type='rs_mm.MultiImgLoadAnnotations'),
    dict(type='rs_mm.MultiImgPackSegInputs'),
]
LEVIR = dict(img_path_from='train/A', img_path_to='train/B', seg_map_path='train/label')


@pytest.fixture
def levir(tmp_path):
    return make_levir_cd(tmp_path, n_train=3, n_val=0, n_test=0, size=64)


def build(root, **kwargs):
    return LEVIR_CD_Dataset(
        **dict(dict(data_root=str(root), data_prefix=LEVIR, pipeline=PIPELINE), **kwargs)
    )


def test_pairs_are_sorted_and_labelled(levir):
    dataset = build(levir)
    infos = [dataset.get_data_info(i) for i in range(3)]
    assert [info['img_path'][1] for info in infos] == [
        str(levir / 'train/B' / f'train_{i}.png') for i in (1, 2, 3)
    ]
    assert infos[0]['seg_map_path'] == str(levir / 'train/label/train_1.png')
    item = dataset[0]
    assert item['inputs'].shape == (6, 64, 64)
    label = np.asarray(Image.open(levir / 'train/label/train_1.png'))
    np.testing.assert_array_equal(item['data_samples'].gt_sem_seg.data[0], label // 255)
    # the file holds RGB, the model gets BGR
    first = np.asarray(Image.open(levir / 'train/A/train_1.png'))
    np.testing.assert_array_equal(item['inputs'][:3].permute(1, 2, 0), first[..., ::-1])


def test_nested_folders_and_no_labels(levir):
    for folder in ('A', 'B'):
        (levir / 'train' / folder / 'city').mkdir()
        shutil.move(
            levir / 'train' / folder / 'train_2.png', levir / 'train' / folder / 'city' / 'x.png'
        )
    prefix = {k: v for k, v in LEVIR.items() if k != 'seg_map_path'}
    with pytest.raises(DataError, match='this pair has no label; .*predict_change.py'):
        build(levir, data_prefix=prefix)[0]
    dataset = build(levir, data_prefix=prefix, pipeline=[PIPELINE[0], PIPELINE[2]])
    assert dataset.get_data_info(0)['img_path'][0].endswith('A/city/x.png')
    sample = dataset[0]['data_samples']
    assert 'gt_sem_seg' not in sample
    assert sample.pair_name == 'city/x'  # names its picture, unlike the stem for sure


def test_order_is_that_of_the_file_names(levir):
    for folder in ('A', 'B', 'label'):
        shutil.copy(
            levir / 'train' / folder / 'train_2.png', levir / 'train' / folder / 'train_1-b.png'
        )
    dataset = build(levir)
    names = [dataset.get_data_info(i)['pair_name'] for i in range(len(dataset))]
    assert names == ['train_1-b', 'train_1', 'train_2', 'train_3']


def test_no_file_is_left_out_in_silence(levir):
    for folder, file in (('A', 'train_1.PNG'), ('B', 'train_1.Png'), ('label', 'train_1.PNG')):
        (levir / 'train' / folder / 'train_1.png').rename(levir / 'train' / folder / file)
    (levir / 'train/A/notes.txt').write_text('no picture')
    dataset = build(levir)
    assert len(dataset) == 3 and dataset.left_out == []
    assert dataset[0]['inputs'].shape == (6, 64, 64)
    shutil.copy(levir / 'train/A/train_2.png', levir / 'train/A/other.tif')
    shutil.copy(levir / 'train/label/train_2.png', levir / 'train/label/alone.png')
    left = [path.rsplit('/', 2)[-1] for path in build(levir).left_out]
    assert left == ['other.tif', 'alone.png']
    shutil.copy(levir / 'train/A/train_2.png', levir / 'train/A/train_2.PNG')
    with pytest.raises(
        DataError, match=r'two files with the same name, train_2.\w+ and train_2.\w+'
    ):
        build(levir)


def test_names_with_blanks_and_folders_stay_apart(levir):
    for folder in ('A', 'B', 'label'):
        (levir / 'train' / folder / 'a').mkdir()
        for old, new in (('train_1', 'a/b'), ('train_2', 'a_b'), ('train_3', 'x y')):
            path = levir / 'train' / folder
            (path / f'{old}.png').rename(path / f'{new}.png')
    dataset = build(levir)
    names = [dataset.get_data_info(i)['pair_name'] for i in range(3)]
    assert sorted(names) == ['a/b', 'a_b', 'x y']
    (levir / 'list.txt').write_text('x y\na/b\n')
    listed = build(levir, ann_file='list.txt')
    assert [listed.get_data_info(i)['pair_name'] for i in range(2)] == ['x y', 'a/b']
    (levir / 'list.txt').write_text('x y\nx y.png\n')
    with pytest.raises(DataError, match="'x y' is listed twice"):
        build(levir, ann_file='list.txt')
    (levir / 'list.txt').write_bytes('a/é\n'.encode('latin-1'))
    with pytest.raises(DataError, match='list.txt, line 1: .*UTF-8'):
        build(levir, ann_file='list.txt')


def test_classes_of_change_come_from_the_config(levir):
    for file in (levir / 'train/label').iterdir():
        bars = (np.mgrid[:64, :64][1] // 16).astype(np.uint8)
        Image.fromarray(bars).save(file)
    names = ['unchanged', 'new', 'gone', 'other']
    metainfo = dict(classes=names)
    dataset = build(levir, format_seg_map=None, metainfo=metainfo)
    assert dataset.metainfo['classes'] == names and dataset.label_map is None
    assert len(set(map(tuple, dataset.metainfo['palette']))) == 4
    assert dataset[0]['data_samples'].gt_sem_seg.data.unique().tolist() == [0, 1, 2, 3]
    palette = [[0, 0, 0], [1, 2, 3], [4, 5, 6], [7, 8, 9]]
    dataset = build(levir, format_seg_map=None, metainfo=dict(metainfo, palette=palette))
    assert dataset.metainfo['palette'] == palette
    for settings, words in (
        (dict(metainfo=metainfo), "'to_binary' makes two classes, and metainfo names 4"),
        (dict(metainfo=dict(classes=names[:3] + ['new'])), 'names a class twice'),
        (dict(metainfo=dict(metainfo, palette=palette[:2])), '4 classes and 2 colours'),
    ):
        with pytest.raises(ConfigError, match=words):
            build(levir, **settings)
    with pytest.raises(DataError, match='holds the values 2, 3'):
        build(levir, format_seg_map=None)[0]


def test_list_file_keeps_its_order(levir):
    (levir / 'list.txt').write_text('train_3\ntrain_1.png\n\n')
    dataset = build(levir, ann_file='list.txt')
    names = [dataset.get_data_info(i)['img_path'][0][-11:] for i in range(len(dataset))]
    assert names == ['train_3.png', 'train_1.png']


def test_missing_partner_label_folder_and_list(levir):
    (levir / 'train/B/train_2.png').unlink()
    with pytest.raises(DataError, match=r'A/train_2.png has no partner: .*B/train_2.png'):
        build(levir)
    shutil.copy(levir / 'train/A/train_2.png', levir / 'train/B/train_2.png')
    (levir / 'train/label/train_3.png').unlink()
    with pytest.raises(DataError, match=r'A/train_3.png has no label: .*label/train_3.png'):
        build(levir)
    with pytest.raises(MissingFileError, match=r'nowhere/train/A does not exist.*\{split\}/A'):
        build(levir / 'nowhere')
    with pytest.raises(MissingFileError, match=r'list file .*gone.txt'):
        build(levir, ann_file='gone.txt')
    (levir / 'empty.txt').write_text('\n')
    with pytest.raises(DataError, match=r'list file .*empty.txt names no image'):
        build(levir, ann_file='empty.txt')
    with pytest.raises(DataError, match=r'no file \*.bmp in'):
        build(levir, img_suffix='.bmp')


def test_missing_listed_image(levir):
    (levir / 'list.txt').write_text('train_9\n')
    with pytest.raises(MissingFileError, match='train_9.png does not exist'):
        build(levir, ann_file='list.txt')[0]


def test_damaged_and_unequal_images(levir):
    file = levir / 'train/A/train_1.png'
    file.write_bytes(b'no image')
    with pytest.raises(DataError, match='train_1.png: .*(be decoded|damaged)'):
        build(levir)[0]
    Image.new('RGB', (64, 60)).save(file)
    with pytest.raises(DataError, match=r'train_1.png is 60 x 64, .*train_1.png is 64 x 64'):
        build(levir)[0]
    Image.new('L', (64, 32)).save(levir / 'train/label/train_2.png')
    with pytest.raises(DataError, match=r'label .*train_2.png is 32 x 64, but .* 64 x 64'):
        build(levir)[1]
    (levir / 'train/label/train_3.png').write_bytes(file.read_bytes()[:60])
    with pytest.raises(DataError, match='label/train_3.png: the PNG ends too early'):
        build(levir)[2]


def test_unknown_label_values(levir):
    """A 0/1 label in a 0/255 set would silently become all unchanged."""
    label = levir / 'train/label/train_1.png'
    Image.fromarray(np.asarray(Image.open(label)) // 255).save(label)
    with pytest.raises(DataError, match=r'train_1.png holds the values 1, but only \[0, 255\]'):
        build(levir)[0]
    assert build(levir, label_values=None)[0] is not None
    found = build(levir, format_seg_map=None)[0]['data_samples'].gt_sem_seg.data
    assert found.max() == 1


@pytest.mark.parametrize('backend', ['pillow', 'cv2'])
def test_deep_labels(levir, backend):
    """A decoder clips 256 to 255, or divides by 256; only the values of 8 bits are taken."""
    pipeline = [PIPELINE[0], dict(PIPELINE[1], imdecode_backend=backend), PIPELINE[2]]
    label = levir / 'train/label/train_1.png'
    plain = np.asarray(Image.open(label))
    Image.fromarray(plain.astype(np.uint16)).save(label)
    found = build(levir, pipeline=pipeline)[0]['data_samples'].gt_sem_seg.data[0]
    np.testing.assert_array_equal(found, plain // 255)
    Image.fromarray((plain > 0) * np.uint16(256)).save(label)
    with pytest.raises(DataError, match=r'train_1.png holds the values 256, but only \[0, 255\]'):
        build(levir, pipeline=pipeline)[0]
    with pytest.raises(DataError, match=r'train_1.png holds values outside 0 .. 255'):
        build(levir, pipeline=pipeline, label_values=None)[0]


def test_dsifn_labels(tmp_path):
    """Indices 0 and 1 are read as they are; a copy with 0 and 255 is refused."""
    make_dsifn(tmp_path, n_train=1, n_val=0, n_test=1, size=64, seed=4)
    prefix = dict(img_path_from='test/t1', img_path_to='test/t2', seg_map_path='test/mask')
    settings = dict(
        data_root=str(tmp_path), data_prefix=prefix, seg_map_suffix='.tif', pipeline=PIPELINE
    )
    assert DSIFN_Dataset(**settings)[0]['data_samples'].gt_sem_seg.data.max() == 1
    file = tmp_path / 'test/mask/test_1.tif'
    Image.fromarray(np.asarray(Image.open(file)) * 255).save(file)
    with pytest.raises(DataError, match='holds the values 255.*to_binary'):
        DSIFN_Dataset(**settings)[0]
    fixed = DSIFN_Dataset(format_seg_map='to_binary', **settings)
    assert fixed[0]['data_samples'].gt_sem_seg.data.max() == 1


def test_s2looking_folder_names(tmp_path):
    make_s2looking(tmp_path, n_train=2, n_val=1, n_test=0, size=64)
    named = dict(img_path_from='train/A', img_path_to='train/B', seg_map_path='train/OUT')
    dataset = S2Looking_Dataset(data_root=str(tmp_path), data_prefix=named, pipeline=PIPELINE)
    assert dataset.get_data_info(0)['seg_map_path'] == str(tmp_path / 'train/label/train_1.png')
    coloured = dict(named, seg_map_path='train/label1')
    dataset = S2Looking_Dataset(data_root=str(tmp_path), data_prefix=coloured, pipeline=PIPELINE)
    with pytest.raises(DataError, match=r'label1/train_1.png holds the values 76'):
        [dataset[i] for i in range(2)]


def test_whu_cd_without_suffix(tmp_path):
    make_whu_cd(tmp_path, n_train=2, n_val=1, n_test=1, size=64)
    prefix = dict(img_path_from='A', img_path_to='B', seg_map_path='label')
    settings = dict(data_root=str(tmp_path), data_prefix=prefix, pipeline=PIPELINE)
    listed = WHU_CD_Dataset(ann_file='list/test.txt', **settings)
    assert listed.get_data_info(0)['img_path'][0].endswith('A/whucd_00003.png')
    assert listed.get_data_info(0)['pair_name'] == 'whucd_00003'
    assert len(WHU_CD_Dataset(**settings)) == 4


def test_bad_arguments(levir):
    with pytest.raises(ConfigError, match='format_seg_map'):
        build(levir, format_seg_map='binary')
    with pytest.raises(ConfigError, match=r'data_prefix must name .*got \[.img_path'):
        build(levir, data_prefix=dict(img_path='train/A'))


def test_seeded_index_repeats_the_augmentation(levir):
    dataset = build(
        levir,
        pipeline=[*PIPELINE[:2], dict(type='rs_mm.MultiImgRandomCrop', crop_size=16), PIPELINE[2]],
    )
    first, again, other = (dataset[SeededIndex(0, seed)]['inputs'] for seed in (5, 5, 6))
    assert (first == again).all() and (first != other).any()


def test_generator_is_seeded_and_sized(tmp_path):
    a, b, c = (
        make_levir_cd(tmp_path / str(i), n_train=1, n_val=1, n_test=0, size=96, seed=seed)
        for i, seed in enumerate((1, 1, 2))
    )
    read = [(root / 'train/A/train_1.png').read_bytes() for root in (a, b, c)]
    assert read[0] == read[1] != read[2]
    assert Image.open(a / 'val/B/val_1.png').size == (96, 96)


@pytest.mark.parametrize(
    'folder, dataset_class, suffix',
    [('levir_cd_samples', LEVIR_CD_Dataset, '.png'), ('dsifn_samples', DSIFN_Dataset, '.png')],
)
def test_real_samples(samples, folder, dataset_class, suffix):
    dataset = dataset_class(
        data_root=str(samples / folder),
        img_suffix=suffix,
        format_seg_map='to_binary',
        data_prefix=dict(img_path_from='A', img_path_to='B', seg_map_path='label'),
        pipeline=PIPELINE,
    )
    items = [dataset[i] for i in range(len(dataset))]
    assert all(item['inputs'].shape == (6, 256, 256) for item in items)
    shares = [float(item['data_samples'].gt_sem_seg.data.float().mean()) for item in items]
    assert max(shares) > 0.02 and max(shares) < 0.9
