"""Spectral step and fusion against the original's numbers."""

import json

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.evaluation.few_shot_metric import FewShotMetric
from rs_mm.models.spectral.decomposition import SpectralDecomposition
from rs_mm.models.spectral.fusion import SpectralFusion, eigenvector_mask, enlarge_mask
from rs_mm.models.spectral.graph import (
    LowRankAffinity,
    colour_affinity,
    feature_affinity,
    smallest_eigenvectors,
)
from rs_mm.models.spectral.store import EigenvectorStore
from rs_mm.structures import EpisodeDataSample
from tests import fill
from tests.parity import fill_state, load_case


def _decomposition(arch):
    manifest, _ = load_case('sccnet', f'torchvision_{arch}_state')
    integers = set(manifest.get('integer_buffers', ()))
    made = SpectralDecomposition(arch, checkpoint=None)
    made.backbone.load_classifier(
        fill_state({k: v for k, v in manifest['state'].items() if k not in integers})
    )
    return made


@pytest.mark.parametrize(
    'name', ['spectral_resnet50', 'spectral_resnet101', 'spectral_resnet50_256']
)
def test_parity(name):
    manifest, arrays = load_case('sccnet', name)
    item = manifest['inputs'][0]
    image = fill.field(item['name'], item['shape'])[0].transpose(1, 2, 0)
    image = np.round(255 * image).astype(np.uint8)
    grid = tuple(manifest['grid_hw'])
    decomposition = _decomposition(manifest['model']['backbone'])

    features, coarse = decomposition.features(image)
    stored = manifest['outputs']['k']
    assert list(features.shape) == stored['full']['shape'][1:]
    step = slice(None) if stored['subsample'] == 'none' else slice(None, None, 4)
    assert np.abs(features.numpy()[step] - arrays['k'][0]).max() < 2e-4

    colours = colour_affinity(image, grid).tocoo()
    theirs = {
        (r, c): v
        for r, c, v in zip(
            arrays['graph_color_row'].tolist(),
            arrays['graph_color_col'].tolist(),
            arrays['graph_color_value'].tolist(),
        )
    }
    ours = {
        (r, c): v
        for r, c, v in zip(colours.row.tolist(), colours.col.tolist(), colours.data.tolist())
    }
    assert sum(theirs.get(k) != ours.get(k) for k in theirs.keys() | ours.keys()) <= 20

    affinity = feature_affinity(features, coarse, grid)
    n = grid[0] * grid[1]
    picked = np.arange(0, n, n // len(arrays['graph_feature']))
    columns = np.zeros((n, len(picked)))
    columns[picked, range(len(picked))] = 1
    assert np.abs((affinity @ columns)[picked] - arrays['graph_feature']).max() < 1e-4
    degree = affinity @ np.ones(n) + 5 * (colours.tocsr() @ np.ones(n))
    assert np.allclose(degree, arrays['degree'], rtol=1e-4)

    values, vectors = decomposition(image)
    assert vectors.shape == (5, *grid)
    assert np.abs(values[1:] - arrays['eigenvalues'][1:]).max() < 1e-4
    assert abs(values[0]) < 1e-6
    for i, (v, expected) in enumerate(zip(vectors.reshape(5, -1), arrays['eigenvectors'])):
        sign = np.sign(v[0] * expected[0]) if i == 0 else 1
        assert np.abs(sign * v - expected).max() <= 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize('threshold', [False, True])
def test_graph_solves_the_generalised_problem(threshold):
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.random((12, 6)) - (0.5 if threshold else 0))
    image = rng.integers(0, 255, (48, 64, 3), np.uint8)
    grid = (12, 16)
    affinity = feature_affinity(features, (3, 4), grid)
    assert isinstance(affinity, np.ndarray if threshold else LowRankAffinity)
    # the definition, step by step
    unit = torch.nn.functional.normalize(features, dim=1).T.view(1, 6, 3, 4)
    fine = torch.nn.functional.interpolate(unit, grid, mode='bilinear')[0].flatten(1).numpy().T
    dense = np.maximum(fine @ fine.T, 0)
    dense /= dense.max()
    assert np.allclose(affinity @ np.eye(192), dense, atol=1e-6)
    colours = colour_affinity(image, grid)
    assert colours.diagonal().min() == 4 and abs(colours - colours.T).max() == 0
    w = dense + 2 * colours.toarray()
    d = np.diag(w.sum(1))
    expected_values, expected = scipy.linalg.eigh(d - w, d)
    values, vectors = smallest_eigenvectors(affinity, colours, 2, 4)
    assert np.allclose(values, expected_values[:4], atol=1e-5)
    for v, e in zip(vectors, expected.T):
        assert np.allclose(v, np.sign(v @ e) * e, atol=1e-4 * np.abs(e).max() + 1e-5)


def test_any_image_size():
    decomposition = SpectralDecomposition('resnet18', checkpoint=None)
    image = np.random.default_rng(0).integers(0, 255, (72, 101, 3), np.uint8)
    values, vectors = decomposition(image)
    assert vectors.shape == (5, 16, 24) and np.isfinite(vectors).all()
    with pytest.raises(DataError, match='too small'):
        decomposition(image[:20, :15])


def _fusion_case():
    manifest, arrays = load_case('sccnet', 'fusion')
    vectors = [arrays['eigenvectors']]
    for i in (1, 2):
        field = fill.field(f'sccnet/fusion/eig/{i}', (1, 5, 64, 64)).reshape(5, 4096)
        vectors.append((field - np.float32(0.35)) * np.float32(0.002))
    return manifest, arrays, [v.reshape(5, 64, 64) for v in vectors]


def _unpack(bits, shape):
    return np.unpackbits(bits)[: np.prod(shape)].reshape(shape)


def test_masks_of_eigenvectors():
    _, arrays, vectors = _fusion_case()
    for i in range(3):
        for j in range(1, 5):
            mask = eigenvector_mask(vectors[i][j])
            assert (mask != _unpack(arrays[f'merge_{i}_{j}'], (64, 64))).sum() <= 8
            up = enlarge_mask(mask, (256, 256)).numpy()
            assert (up != _unpack(arrays[f'up_{i}_{j}'], (256, 256))).sum() <= 8


@pytest.mark.parametrize(
    'variant, dtype',
    [
        ('off', torch.uint8),
        ('fuse', torch.float32),
        ('perfect', torch.float32),
        ('fuse_int', torch.int64),
    ],
)
def test_fused_masks(tmp_path, variant, dtype):
    manifest, arrays, vectors = _fusion_case()
    store = EigenvectorStore(tmp_path, dict(made='by the test'))
    for i, v in enumerate(vectors):
        store.save(f'image{i}', v)
    pred = torch.from_numpy(fill.blob_mask('sccnet/fusion/pred', (6, 256, 256))).to(dtype)
    target = torch.from_numpy(fill.blob_mask('sccnet/fusion/gt', (6, 256, 256)))
    values = {i['role']: i['values'] for i in manifest['inputs'] if 'values' in i}
    samples = [
        EpisodeDataSample(pred_mask=p, gt_mask=t, metainfo=dict(query_name=f'image{i}', class_id=c))
        for p, t, i, c in zip(
            pred, target, values['image index of each episode'], values['class_id of each episode']
        )
    ]
    if variant != 'off':
        fusion = SpectralFusion(str(tmp_path), mode=variant.split('_')[0])
        for sample in samples:
            sample.pred_mask = fusion(sample)
            assert sample.pred_mask.dtype == dtype
    masks = np.stack([s.pred_mask.numpy() for s in samples])
    expected = _unpack(arrays[f'pred_{variant}'], (6, 256, 256))
    assert (masks != expected).sum() <= 8
    metric = FewShotMetric()
    metric.dataset_meta = dict(classes=[str(i) for i in range(15)], class_ids=range(5))
    metric.process(None, [s.to_dict() for s in samples])
    scores = metric.evaluate(6)
    assert scores['mIoU'] == pytest.approx(manifest['scalars'][variant]['miou'], abs=1e-3)
    assert scores['FB-IoU'] == pytest.approx(manifest['scalars'][variant]['fb_iou'], abs=1e-3)


def test_constant_eigenvector_gives_no_mask():
    assert not eigenvector_mask(np.ones((16, 16), np.float32)).any()


def _sample(tmp_path):
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:40, 20:50] = (200, 60, 60)
    Image.fromarray(image).save(tmp_path / 'q.png')
    pred = torch.zeros(64, 64, dtype=torch.uint8)
    pred[18:38, 22:48] = 1
    return EpisodeDataSample(
        pred_mask=pred, metainfo=dict(query_name='q', query_path=str(tmp_path / 'q.png'))
    )


def test_computed_on_the_fly_and_cached(tmp_path):
    made = dict(type='rs_mm.SpectralDecomposition', arch='resnet18', checkpoint=None)
    torch.manual_seed(0)
    fusion = SpectralFusion(str(tmp_path / 'eig'), decomposition=made)
    fused = fusion(_sample(tmp_path))
    assert fused.shape == (64, 64) and (fused >= _sample(tmp_path).pred_mask).all()
    assert (tmp_path / 'eig' / 'q.npy').is_file()
    assert json.loads((tmp_path / 'eig' / 'spectral.json').read_text())['arch'] == 'resnet18'
    fusion.decomposition = lambda image: 1 / 0  # the second time the file is read
    assert torch.equal(fusion(_sample(tmp_path)), fused)
    torch.manual_seed(1)
    with pytest.raises(DataError, match='other settings.*weights'):
        SpectralFusion(str(tmp_path / 'eig'), decomposition=made).store  # noqa: B018


def test_wrong_input(tmp_path):
    with pytest.raises(ConfigError, match='mode'):
        SpectralFusion(str(tmp_path), mode='best')
    with pytest.raises(ConfigError, match='num_vectors'):
        SpectralDecomposition('resnet18', checkpoint=None, num_vectors=1)
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad/spectral.json').write_text('{"arch": "res')
    with pytest.raises(DataError, match='bad/spectral.json cannot be read'):
        EigenvectorStore(tmp_path / 'bad', settings={})
    sample, fusion = _sample(tmp_path), SpectralFusion(str(tmp_path))
    with pytest.raises(MissingFileError, match='q.npy.*spectral_eigenvectors.py'):
        fusion(sample)
    np.save(tmp_path / 'q.npy', np.zeros((2, 16, 16), np.float32))
    with pytest.raises(DataError, match='holds 2 eigenvectors.*needs 5'):
        SpectralFusion(str(tmp_path), mode='perfect')(sample)
    np.save(tmp_path / 'q.npy', np.zeros((5, 16, 16), np.float32))
    with pytest.raises(DataError, match='ground truth'):
        SpectralFusion(str(tmp_path), mode='perfect')(sample)
    (tmp_path / 'q.npy').write_bytes(b'\x93NUMPY')
    with pytest.raises(DataError, match='q.npy cannot be read'):
        fusion(sample)
