"""Memory, networks and training steps equal the original's; edges of the memory."""

import copy
import sys
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rs_mm.converters.grn import (
    convert_checkpoint,
    convert_names,
    published_labels,
    published_model,
    read_checkpoint,
)
from rs_mm.datasets.label_tables import read_label_table
from rs_mm.errors import CheckpointError, ConfigError, DataError
from rs_mm.models.memories import FeatureBank
from rs_mm.registry import MODELS
from rs_mm.structures import EmbeddingDataSample
from tests import fill
from tests.parity import fill_state, load_case


def initial_memory(name, shape):
    bound = 1 / np.sqrt(shape[1] / 3)
    return 2 * bound * torch.from_numpy(fill.uniform(name, shape)) - bound


def test_memory_equals_the_original():
    _, recorded = load_case('grn', 'memory')
    bank = FeatureBank(50, 16, 3)
    bank.features.copy_(initial_memory('grn/mem/mem_u', [50, 16]))
    np.testing.assert_allclose(bank.features, recorded['memory0'], atol=1e-6)
    for step in range(3):
        rows = F.normalize(torch.from_numpy(fill.normal(f'grn/mem/x{step}', [10, 16])))
        rows.requires_grad_()
        (rows @ bank.features.t() / 0.05).backward(
            torch.from_numpy(fill.normal(f'grn/mem/g{step}', [10, 50]))
        )
        np.testing.assert_allclose(rows.grad, recorded[f'grad{step}'], rtol=1e-4, atol=1e-4)
        bank.update(rows, torch.from_numpy(recorded[f'index{step}']))
        np.testing.assert_allclose(
            bank.features, recorded[f'memory{step + 1}'], rtol=1e-5, atol=1e-6
        )
    bank.features.copy_(initial_memory('grn/mem/mem_u', [50, 16]))
    rows = F.normalize(torch.from_numpy(fill.normal('grn/mem/xd', [6, 16])))
    bank.update(rows, torch.from_numpy(recorded['dup_index']))
    np.testing.assert_allclose(
        bank.features[[3, 5, 7]], recorded['dup_memory'], rtol=1e-5, atol=1e-6
    )


def test_memory_starts_uniform():
    bank = FeatureBank(2000, 12, 3)
    assert 0.49 < bank.features.abs().max() < 0.5 + 1e-6
    assert abs(float(bank.features.square().sum(1).mean()) - 1) < 0.05


def test_memory_ignores_what_is_not_finite():
    bank = FeatureBank(3, 2, 1)
    before = bank.features.clone()
    bank.update(torch.tensor([[torch.nan, 1.0], [1.0, 0.0]]), torch.tensor([0, 2]))
    assert torch.equal(bank.features[:2], before[:2])
    torch.testing.assert_close(bank.features[2].norm(), torch.tensor(1.0))


def test_memory_names_what_is_wrong():
    bank = FeatureBank(3, 2, 4)
    with pytest.raises(
        ConfigError,
        match='built for 3 training images with 4 labels, but the training set has 5 with 4',
    ):
        bank.set_labels(torch.zeros(5, 4))
    with pytest.raises(DataError, match='must be 0 or 1'):
        bank.set_labels(torch.full((3, 4), 0.5))
    with pytest.raises(DataError, match='sample index 3 lies outside the memory of 3 rows'):
        bank.update(torch.randn(1, 2), torch.tensor([3]))
    with pytest.raises(ConfigError, match=r'`momentum` must lie in \[0, 1\)'):
        bank.momentum = 1.0
    with pytest.raises(ConfigError, match='not 0'):
        FeatureBank(0, 2, 4)
    with pytest.raises(
        CheckpointError,
        match=r'`features` of shape \(7, 2\), the model one of '
        r'\(3, 2\).*Set `size`',
    ):
        bank.load_state_dict(FeatureBank(7, 2, 4).state_dict())


MODEL_INPUTS = {
    'resnet18': '64x64',
    'resnet18_cls': '96x64',
    'resnet50': '64x96',
    'wideresnet50_cls': '64x80',
    'inceptionv3_cls': '128x112',
}


def build(name, embed_dims=128, num_classes=17, losses=()):
    encoder, _, classifier = name.lower().partition('_cls')
    has_classifier = name.lower().endswith('_cls')
    config = published_model(encoder, embed_dims, num_classes if has_classifier else None)
    return MODELS.build(dict(config, losses=list(losses)))


def load(model, shapes):
    converted, dropped = convert_names(fill_state(shapes))
    result = model.load_state_dict(converted, strict=False)
    assert not dropped and not result.unexpected_keys
    assert all(key.startswith('losses.') for key in result.missing_keys)
    return model


@pytest.mark.parametrize('mode', ['eval', 'train'])
@pytest.mark.parametrize('name', list(MODEL_INPUTS))
@torch.no_grad()
def test_network_equals_the_original(name, mode):
    manifest, recorded = load_case('grn', 'models')
    spec = next(
        spec for spec in manifest['inputs'] if spec['name'].endswith(f'img{MODEL_INPUTS[name]}')
    )
    model = load(build(name), manifest['parameters'][name]).train(mode == 'train')
    output = model(torch.from_numpy(fill.normal(spec['name'], spec['shape'])))
    tolerance = dict(rtol=5e-4, atol=2e-5) if mode == 'eval' else dict(rtol=5e-3, atol=5e-4)
    np.testing.assert_allclose(output['embedding'], recorded[f'{name}_{mode}_feat'], **tolerance)
    if name.endswith('_cls'):
        np.testing.assert_allclose(output['logits'], recorded[f'{name}_{mode}_logits'], **tolerance)


@pytest.mark.parametrize(
    'case, prefix, dim', [('joint_step', 'grn/joint', 128), ('sndl_step', 'grn/single', 64)]
)
def test_training_steps_equal_the_original(case, prefix, dim):
    manifest, recorded = load_case('grn', case)
    settings = manifest['settings']
    labels = torch.from_numpy(recorded['labels'])
    sndl = dict(
        type='SNDLoss',
        temperature=settings['T'],
        margin=settings['margin'],
        memory=dict(
            type='FeatureBank',
            size=30,
            dim=dim,
            num_classes=17,
            momentum=settings['memory_momentum'],
        ),
    )
    losses = [sndl, dict(type='MultiLabelBCELoss')] if case == 'joint_step' else [sndl]
    model = load(build(settings['model'], dim, 17, losses), manifest['parameters']['model'])
    bank = model.losses[0].memory
    bank.features.copy_(initial_memory(f'{prefix}/mem_u', [30, dim]))
    bank.set_labels(labels)
    optimizer = torch.optim.SGD(model.parameters(), settings['lr'], **settings['sgd'])
    model.train()
    for step in range(3):
        images = torch.from_numpy(fill.normal(f'{prefix}/img{step}', [8, 3, 64, 64]))
        index = recorded[f'index{step}'].tolist()
        samples = [
            EmbeddingDataSample(metainfo=dict(sample_idx=i)).set_gt_label(labels[i]) for i in index
        ]
        if step == 0:
            output = copy.deepcopy(model)(images)
            np.testing.assert_allclose(
                output['embedding'].detach(), recorded['feat0'], rtol=2e-3, atol=2e-4
            )
        losses = model(images, samples, mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        total, sndl, bce = recorded['losses'][step]
        np.testing.assert_allclose(losses['loss_sndl'].item(), sndl, rtol=2e-3)
        if 'loss_bce' in losses:
            np.testing.assert_allclose(losses['loss_bce'].item(), bce, rtol=2e-3)
    np.testing.assert_allclose(bank.features, recorded['memory'], rtol=2e-3, atol=2e-2)


def test_memory_travels_with_the_checkpoint():
    sndl = dict(type='SNDLoss', memory=dict(type='FeatureBank', size=6, dim=128, num_classes=17))
    model = build('resnet18', losses=[sndl])
    model.losses[0].memory.set_labels(torch.eye(17)[:6])
    other = build('resnet18', losses=[sndl])
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.losses[0].memory.features, model.losses[0].memory.features)
    assert torch.equal(other.losses[0].memory.labels, torch.eye(17)[:6].to(torch.uint8))
    assert other.losses[0].memory.labelled


@pytest.fixture
def official_file(tmp_path):
    """A checkpoint as the original writes it: the memory object pickled beside the weights."""
    module = types.ModuleType('lib')
    module.memory = types.ModuleType('lib.memory')
    sys.modules.update({'lib': module, 'lib.memory': module.memory})

    class Average(nn.Module):
        def __init__(self, rows, dim):
            super().__init__()
            self.nLem = rows
            self.register_buffer('params', torch.tensor([0.05, 0.5]))
            self.register_buffer('memory', torch.rand(rows, dim))

    Average.__module__, Average.__qualname__ = 'lib.memory', 'Average'
    module.memory.Average = Average
    manifest, _ = load_case('grn', 'models')
    state = {
        f'module.{key}': value
        for key, value in fill_state(manifest['parameters']['resnet18_cls']).items()
    }
    bank = Average(2100, 128)
    path = tmp_path / 'official.pth'
    torch.save(
        dict(
            epoch=3,
            state_dict=state,
            lemniscate=bank,
            best_acc=0.8,
            optimizer=dict(state={0: dict(memory=torch.zeros(2, 2))}),
        ),
        path,
    )
    yield path, bank.memory, state
    del sys.modules['lib'], sys.modules['lib.memory']


def test_official_checkpoint_is_read_without_its_code(official_file):
    path, memory, state = official_file
    del sys.modules['lib.memory'].Average
    weights, found = read_checkpoint(path)
    assert torch.equal(found, memory)
    assert weights.keys() == state.keys()
    converted, dropped = convert_names(weights)
    assert not dropped and 'encoder.model.layer4.1.bn2.running_var' in converted
    # nothing of the file stays registered
    with pytest.raises(CheckpointError, match='could run code'):
        from rs_mm.checkpoint import load_file

        load_file(path)


def test_official_checkpoint_becomes_a_model_with_its_memory(official_file):
    path, memory, _ = official_file
    sndl = dict(type='SNDLoss', memory=dict(type='FeatureBank', size=2100, dim=128, num_classes=17))
    model = build('resnet18_cls', losses=[sndl])
    state, report = convert_checkpoint(path, 'aid')
    assert 'with the memory of 2100 x 128' in report
    model.load_state_dict(state)  # every name has its place
    assert torch.equal(model.losses[0].memory.features, memory)
    assert torch.equal(model.losses[0].memory.labels, published_labels('aid'))
    assert 'name its data set' in convert_checkpoint(path)[1]
    with pytest.raises(
        CheckpointError,
        match="memory of 2100 images, but the published training split of 'ucm' has 1470",
    ):
        convert_checkpoint(path, 'ucm')
    with pytest.raises(ConfigError, match="no published split is known for 'whdld'"):
        convert_checkpoint(path, 'whdld')


def test_labels_of_the_memory_follow_the_published_order():
    _, recorded = load_case('grn', 'splits')
    for dataset, name in (
        ('ucm', 'UCMerced'),
        ('aid', 'AID_multilabel'),
        ('dfc15', 'DFC15_multilabel'),
    ):
        names = [image.decode() for image in recorded[f'{name}_train']]
        assert torch.equal(
            published_labels(dataset),
            torch.from_numpy(read_label_table(dataset).select(names).labels),
        )


class _Attack:
    """Would run code if its pickle were executed."""

    ran = False

    def __reduce__(self):
        return _attack, ()


def _attack():
    _Attack.ran = True


def test_a_file_that_wants_to_run_code_does_not(tmp_path):
    state = {'encoder.0.weight': torch.zeros(1)}
    torch.save(dict(state_dict=state, lemniscate=_Attack()), tmp_path / 'bad.pth')
    weights, memory = read_checkpoint(tmp_path / 'bad.pth')
    assert not _Attack.ran and memory is None and list(weights) == list(state)


def test_other_files_are_refused(tmp_path):
    torch.save(dict(state_dict={'conv.weight': torch.zeros(1)}), tmp_path / 'other.pth')
    weights, _ = read_checkpoint(tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='not one of the original GRN code'):
        convert_names(weights)
    (tmp_path / 'cut.pth').write_bytes(b'PK')
    with pytest.raises(CheckpointError, match='cut.pth is not a readable checkpoint|not loaded'):
        read_checkpoint(tmp_path / 'cut.pth')
    with pytest.raises(ConfigError, match="no encoder 'vgg'"):
        published_model('vgg')


def test_memory_takes_given_contents():
    bank = FeatureBank(4, 3)
    rows, labels = torch.randn(4, 3), torch.randint(2, (4, 6))
    bank.set_features(rows)
    bank.set_labels(labels)
    assert torch.equal(bank.features, rows) and torch.equal(bank.labels.long(), labels)
    other = FeatureBank(4, 3)
    other.load_state_dict(bank.state_dict())
    assert torch.equal(other.labels, bank.labels) and bool(other.labelled)
    with pytest.raises(ConfigError, match='`size` and `dim`'):
        bank.set_features(torch.zeros(3, 3))
    with pytest.raises(DataError, match='NaN'):
        bank.set_features(torch.full((4, 3), torch.nan))
