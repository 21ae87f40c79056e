"""The embedder equals the original OML model: backbones, attention, heads."""

import numpy as np
import pytest
import torch

from rs_mm.converters.oml import convert_names, published_encoder
from rs_mm.errors import CheckpointError, ConfigError, DataError, MissingFileError
from rs_mm.models.backbones.timm_encoder import TimmEncoder
from rs_mm.models.backbones.timm_weights import spread_stem
from rs_mm.registry import MODELS
from rs_mm.structures import EmbeddingDataSample
from tests import fill
from tests.parity import fill_state, load_case

NECKS = {'none': None, 'cbam': dict(type='CBAM'), 'da': dict(type='DualAttention')}


def build(settings):
    pool = dict(type='GlobalPool', mode=settings['pooling'])
    head = dict(type='EmbeddingHead', num_classes=settings['num_classes'], pool=pool)
    if settings['parts'] != [[1, 1, 1]]:
        head.update(type='PartHead', part_dims=settings['part_dim'], splits=settings['parts'])
    encoder = published_encoder(
        settings['backbone'], settings['channels'], settings['output_stride']
    )
    return MODELS.build(
        dict(type='ImageEmbedder', encoder=encoder, head=head, neck=NECKS[settings['module']])
    )


def load(model, shapes):
    state = fill_state(shapes)
    for key in state:
        if key.endswith('pool.pool.p'):
            state[key] = torch.tensor([3.0])
    converted, dropped = convert_names(state)
    assert not dropped
    model.load_state_dict(converted, assign=True)
    return model.eval()


def close(ours, theirs, tolerance=5e-4):
    ours = ours.detach().numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def full_cases():
    for name in (
        'model_options',
        'model_resnet50_strides',
        'backbones_resnet_ibn_vgg',
        'backbones_se',
        'backbones_efficientnet',
    ):
        manifest, _ = load_case('oml', name)
        for variant in manifest['settings']:
            small = any(part in variant for part in ('18', 'os', 'resnet34', 'ibn_a', 'vgg16'))
            small = small or variant in ('se_resnet50', 'se_resnext50_32x4d', 'efficientnet-b0')
            if 'resnet152' in variant or ('os' in variant and variant.endswith('c12')):
                small = False
            yield pytest.param(
                name, variant, marks=() if small else pytest.mark.slow, id=f'{name}-{variant}'
            )


@pytest.mark.parametrize('name, variant', full_cases())
@torch.no_grad()
def test_full_model(name, variant):
    manifest, expected = load_case('oml', name)
    settings = manifest['settings'][variant]
    parameters = manifest['parameters']
    shapes = parameters.get(variant)
    if shapes is None:
        shapes = dict(next(iter(parameters.values())))
    extra = parameters.get(f'{variant}_head_only')
    if extra:  # listed without the encoder
        shapes = {**{k: v for k, v in shapes.items() if k.startswith('encoder.')}, **extra}
        shapes.setdefault('head.head.fc.weight', [settings['num_classes'], 512])
        if settings['parts'] != [[1, 1, 1]]:
            shapes.pop('head.head.fc.weight')
    elif variant not in parameters:
        first = next(iter(shapes))
        shapes[first] = [shapes[first][0], settings['channels'], *shapes[first][2:]]
    image = next(spec for spec in manifest['inputs'] if spec['shape'][1] == settings['channels'])
    image = torch.from_numpy(fill.normal(image['name'], image['shape']))
    with torch.device('meta'):  # no time for weights that are replaced at once
        model = build(settings)
    load(model, shapes)
    features = model.encoder(image)
    assert list(features.shape) == expected[f'{variant}_fmap_shape'].tolist()
    close(features.mean((2, 3)), expected[f'{variant}_fmap_mean'])
    output = model.head(model.extract_feat(image))
    if f'{variant}_extracted' in expected:
        sample = model(image, mode='predict')
        close(torch.stack([s.embedding for s in sample]), expected[f'{variant}_extracted'])
        local = torch.stack([logits for _, logits in output.groups[0]])
        close(local, expected[f'{variant}_local_logits'])
    else:
        close(output.logits, expected[f'{variant}_logits'])
        close(output.embedding, expected[f'{variant}_embedding'])


def test_stem_spread_over_bands():
    _, expected = load_case('oml', 'pretrained_channels')
    weight = torch.from_numpy(fill.weight('oml/inflate/r18/conv1.weight', (64, 3, 7, 7)))
    for channels in (1, 2, 3, 4, 10, 12):
        np.testing.assert_allclose(
            spread_stem(weight, channels)[:8], expected[f'conv1_c{channels}'], rtol=1e-6, atol=1e-7
        )


def test_pretrained_file_for_ten_bands(tmp_path):
    source = TimmEncoder('resnet18')
    torch.save(source.model.state_dict(), tmp_path / 'r18.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'r18.pth'))
    encoder = TimmEncoder('resnet18', in_channels=10, init_cfg=init)
    encoder.init_weights()
    assert torch.equal(encoder.model.conv1.weight[:, :3], source.model.conv1.weight)
    assert torch.equal(encoder.model.layer4[1].conv2.weight, source.model.layer4[1].conv2.weight)
    other = TimmEncoder('resnet34', init_cfg=init)
    with pytest.raises(CheckpointError, match='lacks .* weights of resnet34'):
        other.init_weights()
    other.init_cfg['checkpoint'] = str(tmp_path / 'none.pth')
    with pytest.raises(MissingFileError, match='none.pth'):
        other.init_weights()


def test_images_of_other_bands():
    with pytest.raises(ConfigError, match='images have 10 bands, but .*in_channels is 3'):
        TimmEncoder('resnet18')(torch.zeros(1, 10, 32, 32))


@pytest.mark.parametrize('mode', ['eval', 'train'])
@pytest.mark.parametrize('kind', ['cbam', 'da'])
@torch.no_grad()
def test_attention(kind, mode):
    manifest, expected = load_case('oml', 'attention_modules')
    neck = MODELS.build({**NECKS[kind], 'in_channels': 64})
    state = fill_state(manifest['parameters'][kind])
    state = {f'module.module.{key}': value for key, value in state.items()}
    state['encoder.encoder.0.bias'] = torch.zeros(1)
    converted, dropped = convert_names(state)
    converted.pop('encoder.model.features.0.bias')
    neck.load_state_dict({k.removeprefix('neck.'): v for k, v in converted.items()})
    neck.train(mode == 'train')
    fmap = torch.from_numpy(fill.normal('oml/mod/fmap', (2, 64, 8, 8)))
    close(neck(fmap), expected[f'{kind}_{mode}'], 2e-4)
    if kind == 'cbam':
        close(neck.channel_gate(fmap), expected['cbam_channel'], 2e-4)
    elif mode == 'eval':
        inner = neck.position_in(fmap)
        close(inner, expected['da_pam_in'])
        close(neck.position(inner), expected['da_pam'])
        close(neck.channel(neck.channel_in(fmap)), expected['da_cam'])


def head_state(shapes, power):
    state = {f'head.{key}': value for key, value in fill_state(shapes).items()}
    for key in state:
        if key.endswith('pool.p'):
            state[key] = torch.tensor([power])
    state['encoder.encoder.0.bias'] = torch.zeros(1)
    converted, dropped = convert_names(state)
    assert not dropped
    return {k.removeprefix('head.'): v for k, v in converted.items() if k.startswith('head.')}


@pytest.mark.parametrize('variant', ['avg', 'max', 'gem_p3.0', 'gem_p1.7'])
def test_single_head(variant):
    manifest, expected = load_case('oml', 'heads')
    mode, _, power = variant.partition('_p')
    head = MODELS.build(
        dict(
            type='EmbeddingHead',
            in_channels=64,
            num_classes=17,
            pool=dict(type='GlobalPool', mode=mode),
        )
    )
    head.load_state_dict(head_state(manifest['parameters'][f'single_{mode}'], float(power or 0)))
    output = head(torch.from_numpy(fill.normal('oml/head/fmap2', (2, 64, 8, 8))))
    close(output.embedding, expected[f'single_{variant}_embedding'], 1e-4)
    close(output.logits, expected[f'single_{variant}_logits'], 1e-4)


@pytest.mark.parametrize('variant', ['p1_max', 'p1_avg', 'p1_gem', 'p2_avg'])
@torch.no_grad()
def test_part_head(variant):
    manifest, expected = load_case('oml', 'heads')
    name, mode = variant.split('_')
    head = MODELS.build(
        dict(
            type='PartHead',
            in_channels=64,
            num_classes=17,
            part_dims=32,
            splits=manifest['settings'][name],
            pool=dict(type='GlobalPool', mode=mode),
        )
    )
    head.load_state_dict(head_state(manifest['parameters'][f'parts_{variant}'], 3.0))
    for phase, size in (('eval', 2), ('train', 4)):
        head.train(phase == 'train')
        output = head(torch.from_numpy(fill.normal(f'oml/head/fmap{size}', (size, 64, 8, 8))))
        prefix = f'parts_{variant}_{phase}'
        for group, branches in zip(('local', 'global'), output.groups):
            for i, kind in enumerate(('embed', 'logits')):
                close(
                    torch.stack([b[i] for b in branches]),
                    expected[f'{prefix}_{group}_{kind}'],
                    1e-4,
                )
        vector = torch.nn.functional.normalize(output.embedding)
        close(vector, expected[f'{prefix}_extracted'], 1e-4)
    assert output.embedding.shape[1] == expected[f'parts_{variant}_dim']
    close(head.local_branches[0].bn.running_mean, expected[f'parts_{variant}_train_bn0_mean'], 1e-4)
    close(head.local_branches[0].bn.running_var, expected[f'parts_{variant}_train_bn0_var'], 1e-4)


def small(**changes):
    config = dict(
        type='ImageEmbedder',
        encoder=dict(type='TimmEncoder', model='resnet18'),
        head=dict(type='EmbeddingHead', num_classes=5),
    )
    return MODELS.build({**config, **changes})


def test_predict_without_labels_and_compression():
    model = small(head=dict(type='EmbeddingHead', num_classes=5, embed_dims=16)).eval()
    samples = model(torch.rand(2, 3, 40, 56), mode='predict')
    assert samples[0].embedding.shape == (16,) and samples[0].score.shape == (5,)
    assert samples[1].embedding.norm() == pytest.approx(1, abs=1e-5)
    batch = dict(
        inputs=[torch.randint(0, 255, (3, 40, 56)).byte()],
        data_samples=[EmbeddingDataSample(metainfo=dict(name='a'))],
    )
    assert model.test_step(batch)[0].name == 'a'


def test_bad_inputs():
    model = small()
    with pytest.raises(DataError, match='differ in shape'):
        model.data_preprocessor(dict(inputs=[torch.rand(3, 4, 4), torch.rand(3, 5, 4)]))
    with pytest.raises(ConfigError, match='mean has 3 values, but the images have 2 bands'):
        MODELS.build(dict(type='EmbeddingDataPreprocessor', mean=[1, 2, 3]))(
            dict(inputs=[torch.rand(2, 4, 4)])
        )
    with pytest.raises(ConfigError, match='losses is empty'):
        model(torch.rand(2, 3, 32, 32), [], mode='loss')
    with pytest.raises(ConfigError, match='resnet18x'):
        TimmEncoder('resnet18x')
    with pytest.raises(ConfigError, match='does not take'):
        TimmEncoder('vgg16', output_stride=8)
    with pytest.raises(ConfigError, match='dilate="first" is for ResNet'):
        TimmEncoder('tf_efficientnet_b0', output_stride=8, dilate='first')
    with pytest.raises(ConfigError, match='feature map cannot be cut'):
        head = MODELS.build(dict(type='PartHead', in_channels=8, num_classes=5, splits=[[1, 3, 1]]))
        head(torch.rand(2, 8, 2, 2))
    with pytest.raises(CheckpointError, match='not one of the original OML code'):
        convert_names({'fc.weight': torch.zeros(1)})


def test_missing_parts_are_left_out_where_that_is_asked_for():
    """A 4 x 4 map has two of three ceil-sized parts: as published, the last branch is unused."""
    options = dict(in_channels=8, num_classes=5, part_dims=4, splits=[[1, 1, 1], [1, 3, 1]])
    head = MODELS.build(dict(type='PartHead', skip_missing_parts=True, **options)).eval()
    features = torch.rand(2, 8, 4, 4)
    output = head(features)
    local = [
        branch(chunk.amax((2, 3)))[0]
        for branch, chunk in zip(head.local_branches, (features, *features.chunk(3, 2)))
    ]
    assert len(local) == 3 and len(head.local_branches) == 4
    whole = [branch(features.amax((2, 3)))[0] for branch in head.global_branches]
    assert torch.equal(output.embedding, torch.cat(local + whole, 1))


def test_parts_that_do_not_fit_are_said_before_the_run():
    image = dict(inputs=torch.zeros(3, 64, 64))
    parts = dict(type='PartHead', num_classes=5, part_dims=8, splits=[[1, 3, 1]])
    model = small(head=parts)  # 64 pixels at stride 32 are 2 rows
    with pytest.raises(ConfigError, match='2x2 feature map cannot be cut'):
        model.head.check_images(model, [image])
    model = small(head=dict(parts, skip_missing_parts=True)).train()
    model.head.check_images(model, [image])
    assert model.training


def test_output_stride_all():
    encoder = TimmEncoder('resnet18', output_stride=8).eval()
    assert encoder(torch.rand(1, 3, 64, 64)).shape[-1] == 8


def test_losses_see_every_branch():
    model = small(
        head=dict(type='PartHead', num_classes=5, part_dims=8),
        losses=[dict(type='MultiLabelBCELoss', loss_weight=0.5)],
    )
    samples = [
        EmbeddingDataSample(metainfo=dict(sample_idx=i), gt_label=label)
        for i, label in enumerate(torch.tensor([[1.0, 0, 0, 1, 0], [0.0, 1, 0, 0, 1]]))
    ]
    images = torch.rand(2, 3, 64, 64)
    losses = model(images, samples, mode='loss')
    assert list(losses) == ['loss_bce']
    losses['loss_bce'].backward()
    assert model.head.local_branches[4].fc2.weight.grad.abs().sum() > 0
    assert model.head.global_branches[1].fc1.weight.grad.abs().sum() > 0
    # each group's mean is about 0.5 ln 2 before training
    assert 0.5 < float(losses['loss_bce']) < 1.0
    samples[0].gt_label = torch.ones(4)
    with pytest.raises(DataError, match='differ in length'):
        model(images, samples, mode='loss')
    samples[1].gt_label = torch.ones(4)
    with pytest.raises(ConfigError, match='labels have 4 columns'):
        model(images, samples, mode='loss')
    del samples[1].gt_label
    with pytest.raises(DataError, match='has no gt_label'):
        model(images, samples, mode='loss')


def test_losses_are_single_precision_under_amp():
    seen = []

    class Probe(torch.nn.Module):
        loss_name = 'probe'

        def forward(self, embedding, logits, labels, sample_idx=None):
            seen.append((embedding @ embedding.t()).dtype)
            return embedding.sum()

    model = small()
    model.losses.append(Probe())
    samples = [EmbeddingDataSample(gt_label=torch.ones(5)) for _ in range(2)]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        model(torch.rand(2, 3, 32, 32), samples, mode='loss')
    assert seen == [torch.float32]
