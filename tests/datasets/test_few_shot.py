"""Lists, episodes and items of the few-shot data sets."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from rs_mm.datasets import DLRSD5iDataset, ISAID5iDataset, Pascal5iDataset
from rs_mm.datasets.episodes import PACKED, draw_supports
from rs_mm.datasets.transforms import ResizeEpisode
from rs_mm.errors import ConfigError, DataError, MissingFileError
from tests import fill
from tests.parity import load_case

KINDS = dict(isaid=ISAID5iDataset, dlrsd=DLRSD5iDataset)
PIPELINE = [
    dict(type='LoadEpisode'),
    dict(type='ResizeEpisode', size=256),
    dict(type='PackEpisode'),
]


def test_packed_lists_are_the_published_ones():
    for name, expected in load_case('sccnet', 'episodes')[0]['list_files'].items():
        data = gzip.decompress((PACKED / f'{name}.gz').read_bytes())
        assert hashlib.sha256(data).hexdigest() == expected['sha256']


def test_datasets(tmp_path):
    for name, expected in load_case('sccnet', 'episodes')[0]['datasets'].items():
        kind, fold, split = name.split('_')
        dataset = KINDS[kind](str(tmp_path), int(fold[-1]), 'trn' if split == 'trn' else 'val')
        items = [(d['query'], d['class_id']) for d in dataset.load_data_list()]
        assert len(items) == expected['length']
        assert dataset.metainfo['class_ids'] == expected['class_ids']
        assert [list(i) for i in items[:5]] == expected['first5']
        assert list(items[-1]) == expected['last']
        counts = {str(k): len(v) for k, v in dataset.names_by_class.items()}
        assert counts == expected['items_per_class']


def test_fixed_episodes(tmp_path):
    for name, expected in load_case('sccnet', 'episodes')[0]['episodes'].items():
        kind, fold, split, shots = name.split('_')
        dataset = KINDS[kind](
            str(tmp_path), int(fold[-1]), split, shots=int(shots[0]), test_mode=True
        )
        lines = []
        for i in range(len(dataset)):
            info = dataset.get_data_info(i)
            lines.append(' '.join([info['query'], *info['supports'], str(info['class_id'])]))
        assert len(lines) == expected['episodes']
        digest = hashlib.sha256('\n'.join(lines).encode()).hexdigest()
        assert digest == expected['sha256_of_all'], name


def test_last_line_of_an_unterminated_list(tmp_path):
    whole = DLRSD5iDataset(str(tmp_path), 0, 'val', keep_unterminated=True)
    assert len(whole) == 2580
    assert whole.get_data_info(2579)['query'] == 'sparseresidential94'


def test_pascal(tmp_path):
    sizes = [len(Pascal5iDataset(str(tmp_path), fold, 'val')) for fold in range(4)]
    assert sizes == [346, 451, 725, 346]
    dataset = Pascal5iDataset(str(tmp_path), 1, 'trn')
    assert len(dataset) == 2286 + 5883 + 2086
    assert dataset.metainfo['class_ids'] == [*range(5), *range(10, 20)]
    assert dataset.files('2007_000032')[1].endswith('SegmentationClassAug/2007_000032.png')


def _write_item(kind, manifest, root):
    """The synthetic files of a case, where the data set looks for them."""
    dataset = KINDS[kind](str(root), 0, 'val')
    values = dict(isaid=(8, 5), dlrsd=(4, 1))[kind]
    for i, entry in enumerate(manifest['files']):
        shape = (1, *entry['size_hw'])
        image = fill.field(f'sccnet/item/{kind}/{i}/img', (1, 3, *entry['size_hw']))
        image = np.round(255 * image[0]).astype(np.uint8).transpose(1, 2, 0)
        target = fill.blob_mask(f'sccnet/item/{kind}/{i}/target', shape)[0] > 0
        label = np.zeros(entry['size_hw'], np.uint8)
        label[fill.blob_mask(f'sccnet/item/{kind}/{i}/other', shape)[0] > 0] = values[0]
        label[target] = values[1]
        if kind == 'isaid':
            ignore = fill.blob_mask(f'sccnet/item/{kind}/{i}/ignore', shape)[0] > 0
            label[ignore & ~target] = 255
        picture = Image.fromarray(label)
        if kind == 'dlrsd':
            picture.putpalette([value for i in range(256) for value in (i, 255 - i, i // 2)])
            assert picture.mode == 'P'
        for path, img in zip(dataset.files(entry['file_of']), (Image.fromarray(image), picture)):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            img.save(path)


@pytest.mark.parametrize('kind, index, shots', [('isaid', 0, 1), ('dlrsd', 3, 5)])
def test_item(tmp_path, kind, index, shots):
    manifest, arrays = load_case('sccnet', f'dataset_item_{kind}')
    _write_item(kind, manifest, tmp_path)
    dataset = KINDS[kind](str(tmp_path), 0, 'val', shots=shots, pipeline=PIPELINE)
    np.random.seed(0)
    item = dataset[index]
    sample = item['data_samples']
    assert sample.query_name == manifest['sampled']['query']
    assert sample.support_names == manifest['sampled']['supports']
    assert sample.class_id == manifest['sampled']['class_id']
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    for ours, theirs in (('query', 'query_img'), ('support', 'support_imgs')):
        image = (item['inputs'][ours].float() / 255 - mean) / std
        assert np.abs(image[..., ::4, ::4].numpy() - arrays[theirs]).max() < 0.02
    for ours, theirs in (
        ('gt_mask', 'query_mask'),
        ('ignore', 'query_ignore_idx'),
        ('support_mask', 'support_masks'),
        ('support_ignore', 'support_ignore_idxs'),
    ):
        assert (getattr(sample, ours).numpy() == arrays[theirs]).all()


def _small(root, per_class=4, shots=1, split='trn', size=(32, 40), **kwargs):
    """A little iSAID with lists of its own."""
    lists = root / 'lists'
    for folder, name in (('train', 'trn'), ('val', 'val')):
        (root / folder / 'images').mkdir(parents=True, exist_ok=True)
        (root / folder / 'semantic_png').mkdir(exist_ok=True)
        (lists / name).mkdir(parents=True, exist_ok=True)
        for fold in range(3):
            lines = []
            for label in range(5 * fold + 1, 5 * fold + 6):
                for i in range(per_class):
                    stem = f'c{label:02d}_{i}'
                    lines.append(f'{stem}__{label:02d}\n')
                    rng = np.random.default_rng(100 * label + i)
                    image = rng.integers(0, 255, (*size, 3), np.uint8)
                    mask = np.full(size, label, np.uint8)
                    mask[: size[0] // 2] = 0
                    Image.fromarray(image).save(root / folder / 'images' / f'{stem}.png')
                    Image.fromarray(mask).save(
                        root / folder / 'semantic_png' / f'{stem}_instance_color_RGB.png'
                    )
            (lists / name / f'fold{fold}.txt').write_text(''.join(lines))
    pipeline = kwargs.pop('pipeline', [dict(type='LoadEpisode'), dict(type='PackEpisode')])
    return ISAID5iDataset(
        str(root),
        kwargs.pop('fold', 0),
        split,
        shots=shots,
        list_dir=str(lists),
        pipeline=pipeline,
        **kwargs,
    )


def test_episodes_do_not_depend_on_workers_or_order(tmp_path):
    dataset = _small(tmp_path, shots=3, split='val', test_mode=True, seed=3)
    runs = []
    for workers in (0, 2):
        loader = DataLoader(dataset, num_workers=workers, collate_fn=list, batch_size=4)
        runs.append([s['data_samples'].support_names for batch in loader for s in batch])
    backwards = [dataset[i]['data_samples'].support_names for i in reversed(range(len(dataset)))]
    assert runs[0] == runs[1] == backwards[::-1]
    other = _small(tmp_path, shots=3, split='val', test_mode=True, seed=4)
    assert [other[i]['data_samples'].support_names for i in range(len(other))] != runs[0]


def test_training_draws_anew_and_follows_the_seed(tmp_path):
    from rs_mm.datasets.seeding import SeededIndex

    dataset = _small(tmp_path, per_class=8, shots=2)
    drawn = {
        tuple(dataset[SeededIndex(0, seed)]['data_samples'].support_names) for seed in range(6)
    }
    assert len(drawn) > 1
    a, b = (dataset[SeededIndex(5, 11)]['data_samples'].support_names for _ in range(2))
    assert a == b and dataset[5]['data_samples'].query_name not in a


def test_distinct_supports(tmp_path):
    repeated = _small(tmp_path, shots=3, split='val', test_mode=True)
    distinct = _small(tmp_path, shots=3, split='val', test_mode=True, distinct_supports=True)
    counts = [
        [len(set(d[i]['data_samples'].support_names)) for i in range(len(d))]
        for d in (repeated, distinct)
    ]
    assert min(counts[0]) < 3 and min(counts[1]) == 3


def test_augmentation_moves_image_and_label_together(tmp_path):
    steps = [
        dict(type='LoadEpisode'),
        dict(type='RandomFlipRotateEpisode'),
        dict(type='PackEpisode'),
    ]
    dataset = _small(tmp_path, size=(32, 32), pipeline=steps)
    plain = _small(tmp_path, size=(32, 32))
    np.random.seed(1)
    item = dataset[0]
    assert item['inputs']['query'].shape == (3, 32, 32)
    assert set(item['data_samples'].gt_mask.unique().tolist()) == {0, 1}
    assert not torch.equal(item['data_samples'].gt_mask, plain[0]['data_samples'].gt_mask)


def test_resize_to_a_rectangle(tmp_path):
    steps = [PIPELINE[0], dict(type='ResizeEpisode', size=(24, 48)), PIPELINE[2]]
    item = _small(tmp_path, pipeline=steps)[0]
    assert item['inputs']['support'].shape == (1, 3, 24, 48)
    assert item['data_samples'].support_mask.shape == (1, 24, 48)


def _raises(error, words, call, *args, **kwargs):
    with pytest.raises(error, match=words):
        call(*args, **kwargs)


def test_wrong_settings(tmp_path):
    root = str(tmp_path)
    _raises(ConfigError, '`fold` is 3.*0 to 2', ISAID5iDataset, root, 3, 'val')
    _raises(ConfigError, 'trn or val', ISAID5iDataset, root, 0, 'test')
    _raises(ConfigError, 'shots', ISAID5iDataset, root, 0, 'val', shots=0)
    _raises(MissingFileError, 'no/such/folder', ISAID5iDataset, 'no/such/folder', 0, 'val')
    _raises(
        DataError,
        r'class 5 \(ground track field\) has 4 images.*4 shots needs 5',
        _small,
        tmp_path,
        shots=4,
    )
    _raises(
        ConfigError,
        'size',
        ISAID5iDataset,
        root,
        0,
        'val',
        pipeline=[dict(type='ResizeEpisode', size=(0, 4))],
    )


def test_wrong_lists(tmp_path):
    _small(tmp_path)
    path = tmp_path / 'lists' / 'val' / 'fold0.txt'
    good = path.read_text()
    path.write_text(good + 'P1234\n')
    _raises(DataError, 'fold0.txt, line 21.*P1234', _small_again, tmp_path)
    path.write_text(good + 'P1234__09\n')
    _raises(DataError, 'class 9', _small_again, tmp_path)
    path.write_text('')
    _raises(DataError, 'no entry in .*fold0.txt', _small_again, tmp_path)
    path.unlink()
    _raises(MissingFileError, 'fold0.txt', _small_again, tmp_path)


def _small_again(root):
    return ISAID5iDataset(str(root), 0, 'val', list_dir=str(root / 'lists'))


def test_wrong_files(tmp_path):
    dataset = _small(tmp_path)
    image, label = dataset.files(dataset.get_data_info(0)['query'])
    Image.fromarray(np.full((32, 40, 3), (0, 0, 63), np.uint8)).save(label)
    _raises(DataError, 'isaid_patches.py', dataset.__getitem__, 0)
    Image.fromarray(np.zeros((20, 40), np.uint8)).save(label)
    _raises(DataError, r'is 40 x 32.*_instance_color_RGB.png is 40 x 20', dataset.__getitem__, 0)
    with open(image, 'r+b') as file:
        file.truncate(60)
    _raises(DataError, image, dataset.__getitem__, 0)
    with open(image, 'wb') as file:
        file.write(b'not a picture')
    _raises(DataError, image, dataset.__getitem__, 0)
    os.unlink(image)
    _raises(MissingFileError, image, dataset.__getitem__, 0)


def test_supports_of_different_sizes(tmp_path):
    dataset = _small(tmp_path, per_class=3, shots=2, distinct_supports=True)
    for i, path in enumerate(dataset.files(dataset.get_data_info(0)['query'])):
        Image.fromarray(np.zeros((8, 8) if i else (8, 8, 3), np.uint8)).save(path)
    _raises(DataError, 'ResizeEpisode', dataset.__getitem__, 1)


def test_draw_never_takes_the_query():
    rng = np.random.RandomState(0)
    for distinct in (False, True):
        drawn = {n for _ in range(30) for n in draw_supports(rng, list('abcd'), 'b', 3, distinct)}
        assert drawn == set('acd')


def _blank(dataset, name, value=0):
    label = dataset.files(name)[1]
    Image.fromarray(np.full(np.asarray(Image.open(label)).shape, value, np.uint8)).save(label)


def test_a_mask_without_its_class_is_no_support_but_stays_a_query(tmp_path):
    """Of lists of one's own; an image to be segmented has no mask yet."""
    dataset = _small(tmp_path, split='val', test_mode=True)
    drawn = {name for i in range(20) for name in dataset.get_data_info(i)['supports']}
    assert {'c01_0', 'c01_1', 'c01_2', 'c01_3'} <= drawn
    _blank(dataset, 'c01_0')
    Path(dataset.files('c01_1')[1]).unlink()
    dataset = _small_again_as(tmp_path)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [info['query'] for info in infos[:4]] == ['c01_0', 'c01_1', 'c01_2', 'c01_3']
    assert {name for info in infos for name in info['supports']}.isdisjoint({'c01_0', 'c01_1'})
    # they are predicted as images without a mask are, and not scored
    assert ['gt_mask' in dataset[i]['data_samples'] for i in range(4)] == [False, False, True, True]
    assert dataset.bare == [('c01_0', 0), ('c01_1', 0)]
    for name in ('c01_2', 'c01_3'):
        _blank(dataset, name)
    with pytest.raises(DataError, match=r'no mask of the lists holds class 1 \(ship\)'):
        _small_again_as(tmp_path)


def test_training_goes_without_masks_that_say_nothing(tmp_path):
    dataset = _small(tmp_path)
    name = dataset.get_data_info(0)['query']
    _blank(dataset, name)
    lists = dict(list_dir=str(tmp_path / 'lists'))
    again = ISAID5iDataset(str(tmp_path), 0, 'trn', pipeline=dataset.pipeline.transforms, **lists)
    assert len(again) == len(dataset) - 1
    assert name not in {again.get_data_info(i)['query'] for i in range(len(again))}
    assert [entry[0] for entry in again.bare] == [name]


def _small_again_as(root):
    pipeline = [dict(type='LoadEpisode'), dict(type='PackEpisode')]
    settings = dict(list_dir=str(root / 'lists'), test_mode=True, pipeline=pipeline)
    return ISAID5iDataset(str(root), 0, 'val', **settings)


def test_check_names_masks_that_say_nothing_of_their_class(tmp_path):
    from rs_mm.analysis.dataset_check import _says_nothing, _too_small

    dataset = _small(tmp_path, split='val', test_mode=True)
    assert _too_small(dataset[0]['data_samples'], dataset) is None
    _blank(dataset, 'c01_0')
    _blank(dataset, 'c01_1', 255)
    words = [_says_nothing(dataset, name, 0) for name in ('c01_0', 'c01_1')]
    assert [_too_small(dataset[i]['data_samples'], dataset) for i in range(2)] == words
    assert 'c01_0_instance' in words[0] and 'holds no pixel of class 1 (ship)' in words[0]
    assert 'is ignored throughout' in words[1]
    label = dataset.files('c01_2')[1]
    mask = np.zeros((32, 40), np.uint8)
    mask[1, 1] = 1
    Image.fromarray(mask).save(label)
    small = _small_again_as(tmp_path)
    small.pipeline.transforms.insert(1, ResizeEpisode(8))
    said = _too_small(small[2]['data_samples'], small)
    assert 'nothing of it is left at 8 x 8 pixels' in said
