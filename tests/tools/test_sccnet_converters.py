"""The converters of SCCNet: patches, eigenvectors, checkpoints."""

import argparse

import numpy as np
import pytest
import torch
from PIL import Image

from rs_mm.datasets.episodes import PACKED, read_entries
from rs_mm.errors import CheckpointError, ConfigError, DataError, MissingFileError
from tests.fss_parity import case_state
from tools.dataset_converters import isaid_patches, spectral_eigenvectors
from tools.model_converters import sccnet


def test_patch_starts():
    assert isaid_patches.starts(884) == [0, 206, 412, 618, 628]
    assert isaid_patches.starts(256) == isaid_patches.starts(100) == [0]
    for length in range(257, 1200, 7):
        begins = isaid_patches.starts(length)
        assert begins[-1] == length - 256
        assert max(np.diff(begins)) <= 206


def _scene(root, split, name, size, colour=(0, 0, 127)):
    folder = root / split / 'images'
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (*size, 3), np.uint8)
    mask = np.zeros((*size, 3), np.uint8)
    mask[10:60, 5:90] = colour
    Image.fromarray(image).save(folder / f'{name}.png')
    Image.fromarray(mask).save(folder / f'{name}_instance_color_RGB.png')
    return image


def test_patches(tmp_path):
    image = _scene(tmp_path / 'full', 'val', 'P0003', (300, 470))
    _scene(tmp_path / 'full', 'val', 'P0004', (90, 400), (0, 100, 155))
    isaid_patches.convert(str(tmp_path / 'full'), str(tmp_path / 'out'), ['val'], False, 1)
    names = sorted(p.stem for p in (tmp_path / 'out/val/images').iterdir())
    assert names == sorted(
        [f'P0003_{y}_{y + 256}_{x}_{x + 256}' for y in (0, 44) for x in (0, 206, 214)]
        + [f'P0004_0_256_{x}_{x + 256}' for x in (0, 144)]
    )
    patch = np.asarray(Image.open(tmp_path / 'out/val/images/P0003_44_300_206_462.png'))
    assert (patch == image[44:300, 206:462]).all()
    labels = tmp_path / 'out/val/semantic_png'
    label = np.asarray(Image.open(labels / 'P0003_0_256_0_256_instance_color_RGB.png'))
    assert label.shape == (256, 256) and (label == 9).sum() == 50 * 85
    small = np.asarray(Image.open(labels / 'P0004_0_256_0_256_instance_color_RGB.png'))
    assert (small[90:] == 255).all() and (small[10:60, 5:90] == 15).all()


def test_patches_of_real_scenes_are_those_of_the_lists(tmp_path, samples):
    isaid_patches.convert(str(samples / 'isaid'), str(tmp_path), ['train', 'val'], False, 1)
    checked = 0
    for split, folder, scene in (('trn', 'train', 'P0005'), ('val', 'val', 'P0003')):
        for path in sorted((PACKED / 'isaid' / split).iterdir()):
            for name, label in read_entries(path):
                if name.startswith(f'{scene}_'):
                    mask = np.asarray(
                        Image.open(
                            tmp_path / folder / 'semantic_png' / f'{name}_instance_color_RGB.png'
                        )
                    )
                    assert (mask == label + 1).any(), (name, label)
                    checked += 1
    assert checked == 30


def test_wrong_scenes(tmp_path):
    _scene(tmp_path, 'val', 'P0001', (64, 64), (1, 2, 3))
    with pytest.raises(MissingFileError, match='no scenes'):
        isaid_patches.convert(str(tmp_path), str(tmp_path / 'out'), ['train'], False, 1)
    with pytest.raises(DataError, match=r'\(1, 2, 3\) at row 10, column 5'):
        isaid_patches.convert(str(tmp_path), str(tmp_path / 'out'), ['val'], False, 1)
    (tmp_path / 'val/images/P0001_instance_color_RGB.png').unlink()
    with pytest.raises(MissingFileError, match='P0001_instance_color_RGB.png'):
        isaid_patches.convert(str(tmp_path), str(tmp_path / 'out'), ['val'], False, 1)


def _spectral_args(images, out, **more):
    return argparse.Namespace(
        **{
            **dict(
                images=str(images),
                out=str(out),
                arch='resnet18',
                weights='none',
                num_vectors=3,
                colour_weight=5.0,
                workers=1,
                limit=None,
            ),
            **more,
        }
    )


def test_eigenvectors_of_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'in' / 'sub').mkdir(parents=True)
    for name in ('a.png', 'b.png', 'sub/c.png'):
        Image.fromarray(rng.integers(0, 255, (64, 80, 3), np.uint8)).save(tmp_path / 'in' / name)
    out = tmp_path / 'out'
    spectral_eigenvectors.compute(_spectral_args(tmp_path / 'in', out, limit=1))
    assert [p.name for p in out.glob('*.npy')] == ['a.npy']
    stamp = (out / 'a.npy').stat().st_mtime_ns
    spectral_eigenvectors.compute(_spectral_args(tmp_path / 'in', out, workers=2))
    assert sorted(p.name for p in out.glob('*.npy')) == ['a.npy', 'b.npy', 'c.npy']
    assert (out / 'a.npy').stat().st_mtime_ns == stamp
    assert np.load(out / 'c.npy').shape == (3, 16, 20)
    with pytest.raises(DataError, match='num_vectors differ'):
        spectral_eigenvectors.compute(_spectral_args(tmp_path / 'in', out, num_vectors=4))
    # a process gives what another gives
    alone = tmp_path / 'alone'
    spectral_eigenvectors.compute(_spectral_args(tmp_path / 'in', alone))
    assert np.allclose(np.load(alone / 'c.npy'), np.load(out / 'c.npy'), atol=1e-6)


def test_wrong_images(tmp_path):
    with pytest.raises(MissingFileError, match='neither'):
        spectral_eigenvectors.find_images(str(tmp_path / 'nothing'))
    with pytest.raises(DataError, match='no image'):
        spectral_eigenvectors.find_images(str(tmp_path))
    for folder in ('x', 'y'):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / folder / 'a.png')
    with pytest.raises(DataError, match='share the name a'):
        spectral_eigenvectors.find_images(str(tmp_path))


@pytest.mark.parametrize(
    'text',
    [
        'model = dict()',
        """
test_dataloader = dict(dataset=dict(type='MultiLabelDataset', data_root={root!r}, img_dirs='x'))
""",
    ],
)
def test_a_config_without_episodes(tmp_path, text):
    (tmp_path / 'x').mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / 'x' / 'a.png')
    (tmp_path / 'a.py').write_text(text.format(root=str(tmp_path)))
    with pytest.raises(ConfigError, match='a.py tests no episodes'):
        spectral_eigenvectors.find_images(str(tmp_path / 'a.py'))


def test_checkpoint(tmp_path, capsys):
    state = {f'module.{k}': v for k, v in case_state('resnet50').items()}
    torch.save(state, tmp_path / 'best_model.pt')
    sccnet.convert(str(tmp_path / 'best_model.pt'), str(tmp_path / 'ours.pth'))
    said = capsys.readouterr().out
    assert 'resnet50' in said and '2 dropped' in said and '0 missing' in said
    from mmengine.runner import load_checkpoint

    from tests.fss_parity import build_model

    model = build_model()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    load_checkpoint(model, str(tmp_path / 'ours.pth'), strict=False)
    weight = model.head.self_learner.mix[1][2].conv_support.weight
    assert torch.equal(weight, state['module.hpn_learner2.encoder_layer3to2.6.conv2.weight'])
    assert torch.equal(model.backbone.net.stem.conv1.weight, state['module.backbone.conv1.weight'])


@pytest.mark.parametrize(
    'spoil, words',
    [
        (lambda s: s.pop('module.merger.0.weight'), 'head.merge.weight'),
        (lambda s: s.update({'module.decoder.1.weight': torch.zeros(1)}), 'decoder.1.weight'),
    ],
)
def test_foreign_checkpoint(tmp_path, spoil, words):
    state = {f'module.{k}': v for k, v in case_state('resnet50').items()}
    spoil(state)
    torch.save(state, tmp_path / 'x.pt')
    with pytest.raises(CheckpointError, match=words):
        sccnet.convert(str(tmp_path / 'x.pt'), str(tmp_path / 'y.pth'))
