"""DSQNet equals the official implementation, see tests/data/parity/dsqnet."""

import pytest
import torch
import torch.nn.functional as F
from mmengine import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from rs_mm.converters.dsqnet_names import rename_official_dsqnet
from rs_mm.models.utils import sample_regions
from rs_mm.registry import MODELS, TASK_UTILS
from tests import fill
from tests.parity import load_case

from .dsqnet_cases import (
    build_case,
    check,
    normalised_pair,
    normals,
    official_state,
)

MODEL_NAMES = ['dsqnet_swin_c128', 'dsqnet_swin_c64', 'dsqnet_vitae_c128', 'dsqnet_vitae_c64']


@pytest.fixture(autouse=True)
def _one_thread(_seed):
    torch.set_num_threads(1)  # steps this small are slower on several


def head_outputs(head, stages):
    """Every recorded intermediate of the head, from the two dates' stages."""
    first, second = zip(*(stage.chunk(2, 1) for stage in stages))
    dates = [head.dsp(first), head.dsp(second)]
    maps, semantics = zip(*dates)
    bmq = head.bmq
    codes = bmq.codes(*semantics)
    boxes = bmq.boxes(codes, maps[0].shape[-2:])
    contents = [bmq.look_up(maps[1], boxes), bmq.look_up(maps[0], boxes)]
    mixed = bmq.mix(*contents)
    relevance = bmq.relevance(*contents)
    crops = [bmq_crops(bmq, x, boxes) for x in maps]
    out = bmq(maps, semantics)
    normed = [head.norm_conv(x) for x in out]
    return dict(
        dsp_out_t1=maps[0],
        dsp_out_t2=maps[1],
        query_bias_t1=bmq.query_conv(semantics[0]),
        query_bias_t2=bmq.query_conv(semantics[1]),
        query_key=codes,
        boxes=boxes,
        roi_from_t2=crops[1],
        points_on_t1=bmq.point_grid(crops[0]),
        points_on_t2=bmq.point_grid(crops[1]),
        relevance_softmax=relevance.softmax(-1),
        relevance_softmax_transposed=relevance.transpose(-1, -2).softmax(-1),
        mixed_for_t1=mixed[0],
        mixed_for_t2=mixed[1],
        bmq_out_t1=out[0],
        bmq_out_t2=out[1],
        flow=head.fusion.flow(torch.cat(normed, 1)),
        fusion_out=head.fuse(stages),
        logits=head(stages),
    )


def bmq_crops(bmq, features, boxes):
    return sample_regions(features, boxes, bmq.region_size).flatten(0, 1)


def fraction(logits, size):
    logits = F.interpolate(logits, size=size, mode='bilinear', align_corners=False)
    return (logits.argmax(1) == 1).float().mean((1, 2))


@pytest.mark.parametrize(
    'name', ['swin_256', 'swin_256_c64', 'vitae_256', 'vitae_256_c64', 'swin_512', 'vitae_512']
)
@torch.no_grad()
def test_whole_model(name):
    case = load_case('dsqnet', f'dsqnet_{name}_eval')
    model = build_case(case[0]['model'])
    inputs = normalised_pair(case[0]['inputs'])
    stages = model.extract_feat(inputs)
    outputs = {f'stage{i + 1}_t1': stage.chunk(2, 1)[0] for i, stage in enumerate(stages)}
    outputs.update(head_outputs(model.decode_head, stages))
    recorded = case[0]['outputs'].keys()
    check(case, {key: value for key, value in outputs.items() if key in recorded}, rtol=1e-3)
    assert recorded - outputs.keys() == {'pred_fraction'}
    check(case, dict(logits=model(inputs)))
    check(case, dict(pred_fraction=fraction(outputs['logits'], inputs.shape[-2:])))


@pytest.mark.parametrize('name', ['swin_b3', 'vitae_b2_nonsquare'])
@torch.no_grad()
def test_head(name):
    case = load_case('dsqnet', f'dsqnet_head_{name}')
    head = build_case(case[0]['model']).decode_head
    tensors = normals(case[0]['inputs'])
    stages = [torch.cat(pair, 1) for pair in zip(tensors[::2], tensors[1::2])]
    outputs = head_outputs(head, stages)
    check(case, {key: outputs[key] for key in case[0]['outputs']})


@pytest.mark.parametrize('name', ['swin_backbone_odd_size', 'vitae_backbone_160'])
@torch.no_grad()
def test_backbone(name):
    case = load_case('dsqnet', f'dsqnet_{name}')
    backbone = build_case(case[0]['model']).backbone
    stages = backbone(*normals(case[0]['inputs']))
    check(case, {f'stage{i + 1}': stage for i, stage in enumerate(stages)}, rtol=1e-3)


@torch.no_grad()
def test_slide():
    case = load_case('dsqnet', 'dsqnet_swin_slide_640')
    config = case[0]['config']
    model = build_case(case[0]['model'])
    model.test_cfg = ConfigDict(
        mode='slide', crop_size=config['crop_size'], stride=config['stride'], window_batch=5
    )
    logits = model.inference(normalised_pair(case[0]['inputs']), [dict(ori_shape=(640, 640))])
    check(case, dict(logits=logits, pred_fraction=(logits.argmax(1) == 1).float().mean((1, 2))))


@pytest.mark.parametrize('name', MODEL_NAMES)
def test_state_and_size(name):
    """Every official name has its place, or is known to be unused; the counts say the same."""
    state, manifest = official_state(name)
    model = build_case(name)
    renamed, dropped = rename_official_dsqnet(state)
    assert {key: value.shape for key, value in renamed.items()} == {
        key: value.shape
        for key, value in model.state_dict().items()
        if not key.endswith(('num_batches_tracked', 'relative_position_index'))
    }
    sizes = load_case('dsqnet', 'dsqnet_model_size')[0]
    unused = sum(state[key].numel() for key in dropped)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count + unused == sizes['models'][name]['parameters'] == manifest['parameter_count']
    assert unused == sizes['never_used_at_run_time'].get(name.removeprefix('dsqnet_'), unused)


@torch.no_grad()
def test_merge_of_augmented_views():
    case = load_case('dsqnet', 'dsqnet_tta_merge')
    views = normals(case[0]['inputs'])[0]
    samples = [SegDataSample(seg_logits=PixelData(data=view)) for view in views]
    model = MODELS.build(dict(type='SegTTAModel', module=build_case('dsqnet_swin_c64')))
    (merged,) = model.merge_preds([samples])
    check(case, dict(mean_probability=merged.seg_probs.data), atol=1e-6)
    assert (merged.pred_sem_seg.data.numpy() == case[1]['pred']).all()


def _prediction(case, ori_shape):
    """Preprocessing (normalise, pad right and bottom to 32), whole inference, postprocessing."""
    inputs = normalised_pair(case[0]['inputs'])
    height, width = inputs.shape[-2:]
    padding = (0, -width % 32, 0, -height % 32)
    inputs = F.pad(inputs, padding)
    sample = SegDataSample(
        metainfo=dict(
            ori_shape=ori_shape,
            img_shape=(height, width),
            img_padding_size=padding,
            pad_shape=inputs.shape[-2:],
        )
    )
    (sample,) = build_case(case[0]['model'])(inputs, [sample], mode='predict')
    return sample


@torch.no_grad()
def test_predict_250x270():
    case = load_case('dsqnet', 'dsqnet_swin_predict_250x270')
    sample = _prediction(case, (250, 270))
    check(case, dict(seg_logits=sample.seg_logits.data))
    labels = torch.from_numpy(case[1]['pred_sem_seg'])
    assert (sample.pred_sem_seg.data != labels).float().mean() < 2e-3


@torch.no_grad()
def test_predict_resized_back():
    case = load_case('dsqnet', 'dsqnet_swin_predict_resized_back')
    check(case, dict(seg_logits=_prediction(case, (500, 540)).seg_logits.data))


def _samples(labels):
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]


def test_training_step():
    """Loss, gradients and running statistics of one step; BN statistics are per date."""
    case = load_case('dsqnet', 'dsqnet_swin_256_train_loss')
    manifest, arrays = case
    model = build_case(manifest['model']).train()
    labels = torch.from_numpy(fill.blob_mask('dsq_train_gt', (2, 256, 256))).long()
    losses = model(normalised_pair(manifest['inputs']), _samples(labels), mode='loss')
    assert losses['decode.loss_ce'].item() == pytest.approx(float(arrays['loss_ce']), rel=1e-4)
    assert losses['decode.acc_seg'].item() == pytest.approx(float(arrays['acc_seg'][0]), rel=1e-4)
    assert model.parse_losses(losses)[0].item() == losses['decode.loss_ce'].item()
    losses['decode.loss_ce'].backward()

    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name, norm in manifest['gradient_norms'].items():
        ours = _our_name(name)
        gradient = _official_layout(name, gradients[ours])
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-2), name
        expected = torch.from_numpy(arrays[f'grad/{name}'])
        sampled = gradient.flatten()[:: max(1, gradient.numel() // 64)][:64]
        assert (sampled - expected).abs().max() <= 1e-2 * expected.abs().max(), name

    without = {_our_name(name) for name in manifest['parameters_without_gradient']} - {None}
    assert without == {name for name, gradient in gradients.items() if gradient is None}

    buffers = dict(model.named_buffers())
    for name in (name for name in arrays if name.startswith('running_')):
        kind, part = name.split('/')
        ours = _our_name(f'decode_head.{part}.{kind}')
        torch.testing.assert_close(buffers[ours], torch.from_numpy(arrays[name]), atol=1e-4, rtol=0)
        per_date = 1 if 'query_key_conv' in part else 2
        assert buffers[ours.replace(kind, 'num_batches_tracked')] == per_date


def _our_name(name):
    renamed = list(rename_official_dsqnet({name: torch.zeros(1, 4)})[0])
    return renamed[0] if renamed else None


def _official_layout(name, gradient):
    if '.downsample.' in name:  # mmseg orders the four neighbours otherwise
        return gradient.unflatten(-1, (-1, 4)).transpose(-1, -2)[..., [0, 2, 1, 3], :].flatten(-2)
    return gradient


VARIANTS = {
    'thresh 0.7, min_kept 100000': dict(thresh=0.7, min_kept=100000),
    'thresh 0.7, min_kept 1000': dict(thresh=0.7, min_kept=1000),
    'thresh 0.3, min_kept 1000': dict(thresh=0.3, min_kept=1000),
    'thresh 0.3, min_kept 1000, first 8 rows of every label set to 255': dict(
        thresh=0.3, min_kept=1000
    ),
    'thresh none, min_kept 5000': dict(thresh=None, min_kept=5000),
    'no sampler': None,
    'no sampler, first 8 rows 255': None,
}


@torch.no_grad()
def test_sampler_variants():
    manifest, _ = load_case('dsqnet', 'dsqnet_swin_256_train_loss')
    model = build_case(manifest['model']).train()
    logits = model(normalised_pair(manifest['inputs']))
    assert VARIANTS.keys() == manifest['sampler_variants_on_train_logits'].keys()
    for name, expected in manifest['sampler_variants_on_train_logits'].items():
        labels = torch.from_numpy(fill.blob_mask('dsq_train_gt', (2, 256, 256))).long()
        if '255' in name:
            labels[:, :8] = 255
        head = model.decode_head
        head.sampler = VARIANTS[name] and TASK_UTILS.build(
            dict(type='mmseg.OHEMPixelSampler', **VARIANTS[name]), default_args=dict(context=head)
        )
        losses = head.loss_by_feat(logits, _samples(labels))
        assert losses['loss_ce'].item() == pytest.approx(expected['loss_ce'], rel=1e-4), name
        assert losses['acc_seg'].item() == pytest.approx(expected['acc_seg'], rel=1e-4), name
