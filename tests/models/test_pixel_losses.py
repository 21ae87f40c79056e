"""Losses of class maps against their formulas, and what mmseg's cannot do is said at the start."""

import copy

import pytest
import torch
from mmseg.models.decode_heads import FCNHead

from rs_mm.errors import ConfigError
from rs_mm.models.losses.map_loss_check import check_map_losses
from rs_mm.registry import MODELS


def draw(channels=3, classes=3):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, channels, 5, 6, generator=rng, requires_grad=True)
    target = torch.randint(0, classes, (2, 5, 6), generator=rng)
    target[0, :2] = 255
    weight = (torch.rand(2, 5, 6, generator=rng) < 0.6).float()
    counts = (target != 255).float() * weight
    return logits, target, weight, counts


def by_pixel(logits, target, counts):
    """(logit vector, class, weight) of every pixel that counts, one by one."""
    flat = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    return [
        (x, int(y), float(m))
        for x, y, m in zip(flat, target.flatten(), counts.flatten())
        if float(m) > 0
    ]


def build(kind, **options):
    return MODELS.build(dict(type=f'Pixel{kind}Loss', **options))


def test_cross_entropy_is_the_weighted_mean_over_the_pixels_that_count():
    logits, target, weight, counts = draw()
    factors = [0.5, 2.0, 3.0]
    got = build('CrossEntropy', class_weight=factors)(logits, target, weight)
    pairs = [
        (factors[y] * m, -float(x.softmax(0)[y].log().detach()))
        for x, y, m in by_pixel(logits, target, counts)
    ]
    expected = sum(a * b for a, b in pairs) / sum(a for a, _ in pairs)
    assert float(got.detach()) == pytest.approx(expected, rel=1e-5)


def test_one_channel_is_two_classes():
    logits, target, weight, counts = draw(channels=1, classes=2)
    got = build('CrossEntropy')(logits, target, weight)
    terms = [
        -float(torch.sigmoid(x[0] if y else -x[0]).log().detach())
        for x, y, m in by_pixel(logits, target, counts)
    ]
    assert float(got.detach()) == pytest.approx(sum(terms) / len(terms), rel=1e-5)


@pytest.mark.parametrize('channels', [1, 3])
def test_focal_equals_its_formula(channels):
    logits, target, weight, counts = draw(channels, classes=max(2, channels))
    alpha, factors = [0.2, 0.6, 0.9][:channels], [0.5, 2.0, 3.0][: max(2, channels)]
    got = build('Focal', alpha=alpha, gamma=1.5, class_weight=factors)(logits, target, weight)
    total, pixels = 0.0, by_pixel(logits, target, counts)
    for x, y, _ in pixels:
        for c in range(channels):
            s = float(torch.sigmoid(x[c]).detach())
            own = y == (1 if channels == 1 else c)
            q, a = (s, alpha[c]) if own else (1 - s, 1 - alpha[c])
            factor = factors[1] if channels == 1 else factors[c]
            total += factor * a * (1 - q) ** 1.5 * -torch.tensor(q).log().item()
    assert float(got.detach()) == pytest.approx(total / len(pixels) / channels, rel=1e-4)


@pytest.mark.parametrize('kind', ['Dice', 'Tversky'])
def test_regions_equal_their_formulas(kind):
    logits, target, weight, counts = draw()
    got = build(kind, class_weight=[1.0, 2.0, 4.0])(logits, target, weight)
    losses = []
    for c in range(3):
        p = torch.stack([x.softmax(0)[c] for x, _, _ in by_pixel(logits, target, counts)])
        t = torch.tensor([float(y == c) for _, y, _ in by_pixel(logits, target, counts)])
        if kind == 'Dice':
            share = (2 * (p * t).sum() + 1) / ((p**2).sum() + t.sum() + 1)
        else:
            tp, fp, fn = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
            share = (tp + 1) / (tp + 0.3 * fp + 0.7 * fn + 1)
        losses.append(1 - float(share.detach()))
    expected = (losses[0] + 2 * losses[1] + 4 * losses[2]) / 7
    assert float(got.detach()) == pytest.approx(expected, rel=1e-5)


def test_lovasz_falls_to_zero_as_the_map_becomes_right():
    _, target, weight, _ = draw()
    right = torch.nn.functional.one_hot(target % 255 % 3, 3).movedim(-1, 1).float()
    values = [float(build('Lovasz')(right * scale, target, weight)) for scale in (0, 2, 40)]
    assert values[0] > values[1] > values[2] and values[2] < 1e-6


@pytest.mark.parametrize('kind', ['CrossEntropy', 'Focal', 'Dice', 'Tversky', 'Lovasz'])
def test_pixels_without_part_have_no_gradient_and_none_is_no_trouble(kind):
    logits, target, weight, counts = draw()
    loss = build(kind)
    gradient = torch.autograd.grad(loss(logits, target, weight), logits)[0]
    assert gradient.permute(0, 2, 3, 1)[counts == 0].abs().max() == 0
    assert gradient.abs().max() > 0
    nothing = loss(logits, torch.full_like(target, 255))
    assert float(nothing.detach()) == pytest.approx(0, abs=1e-6)
    nothing.backward()


def head(loss, sampler=None, classes=2, **options):
    return torch.nn.Sequential(
        FCNHead(
            in_channels=4,
            channels=4,
            num_convs=0,
            num_classes=classes,
            concat_input=False,
            loss_decode=loss,
            sampler=sampler,
            **options,
        )
    )


OHEM = dict(type='mmseg.OHEMPixelSampler', thresh=0.7, min_kept=10)


@pytest.mark.parametrize(
    'loss, sampler, words',
    [
        (dict(type='mmseg.FocalLoss'), None, 'PixelFocalLoss'),
        (dict(type='mmseg.FocalLoss'), OHEM, 'PixelFocalLoss'),
        (
            dict(type='mmseg.CrossEntropyLoss', class_weight=[1.0, 2.0, 3.0]),
            None,
            '3 values.*2 class',
        ),
        (dict(type='rs_mm.PixelDiceLoss', class_weight=[1.0]), None, '1 values.*2 classes'),
        (dict(type='rs_mm.PixelFocalLoss', alpha=[0.1, 0.2, 0.3]), None, 'alpha has 3 values'),
        (dict(type='mmseg.CrossEntropyLoss', use_mask=True), None, 'PixelCrossEntropyLoss'),
        (
            dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True, class_weight=[1.0, 2.0]),
            None,
            'PixelCrossEntropyLoss',
        ),
        (dict(type='mmseg.OhemCrossEntropy'), None, 'OHEMPixelSampler'),
        (dict(type='mmseg.SiLogLoss'), None, 'SiLogLoss'),
        (dict(type='mmseg.BoundaryLoss'), None, 'BoundaryLoss'),
        (dict(type='mmseg.LovaszLoss', loss_type='binary', reduction='none'), None, 'PixelLovasz'),
        (dict(type='mmseg.DiceLoss'), OHEM, 'remove it'),
        (dict(type='mmseg.TverskyLoss'), OHEM, 'ignores .*sampler'),
        (dict(type='mmseg.LovaszLoss', reduction='none'), OHEM, 'ignores .*sampler'),
        (dict(type='mmseg.HuasdorffDisstanceLoss'), OHEM, 'ignores .*sampler'),
        (
            dict(type='rs_mm.PixelDiceLoss'),
            dict(type='mmseg.OHEMPixelSampler', min_kept=10),
            'thresh',
        ),
        ([dict(type='rs_mm.PixelDiceLoss'), dict(type='mmseg.FocalLoss')], None, 'FocalLoss'),
        (dict(type='rs_mm.PixelDiceLoss', loss_name='dice'), None, 'loss_name'),
    ],
)
def test_what_cannot_be_computed_is_said_before_training(loss, sampler, words):
    with pytest.raises(ConfigError, match=words):
        check_map_losses(head(copy.deepcopy(loss), sampler))


@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize('sampler', [None, OHEM])
def test_what_can_passes_alone_and_together(sampler, channels):
    ours = [
        dict(type=f'rs_mm.Pixel{k}Loss')
        for k in ('CrossEntropy', 'Focal', 'Dice', 'Tversky', 'Lovasz')
    ]
    if channels == 1 and sampler:  # mmseg's sampler wants a softmax
        return
    assert check_map_losses(head(ours, sampler, out_channels=channels, threshold=0.5)) == []
    model = head(dict(type='mmseg.CrossEntropyLoss'), sampler)
    state = torch.get_rng_state()
    assert check_map_losses(model) == []
    assert torch.equal(state, torch.get_rng_state()), 'the check drew random numbers'


@pytest.mark.parametrize('kind', ['CrossEntropy', 'Focal'])
def test_a_sampler_without_threshold_can_rank_our_pixels(kind):
    sampler = dict(type='mmseg.OHEMPixelSampler', min_kept=10)
    assert check_map_losses(head(dict(type=f'rs_mm.Pixel{kind}Loss'), sampler)) == []


def test_losses_that_count_ignored_pixels_are_named():
    for kind in ('DiceLoss', 'HuasdorffDisstanceLoss'):
        (remark, *_) = check_map_losses(head(dict(type=f'mmseg.{kind}')))
        assert kind in remark and '255' in remark and 'PixelDiceLoss' in remark
    remarks = check_map_losses(head(dict(type='mmseg.LovaszLoss', per_image=True)))
    assert any('not a number' in remark for remark in remarks)


def test_class_weights_of_mmseg_meet_an_ignored_pixel():
    model = head(dict(type='mmseg.CrossEntropyLoss', class_weight=[1.0, 2.0]))
    check_map_losses(model)
    logits, target, *_ = draw(channels=2, classes=2)
    loss = model[0].loss_decode
    assert loss(logits, target % 255 % 2, weight=None, ignore_index=255).isfinite()
    with pytest.raises(ConfigError, match='PixelCrossEntropyLoss'):
        loss(logits, target, weight=None, ignore_index=255)


def _losses_of_mmseg():
    import inspect

    from mmseg.models import losses

    return sorted(
        name
        for name, kind in vars(losses).items()
        if inspect.isclass(kind) and issubclass(kind, torch.nn.Module) and name != 'Accuracy'
    )


@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize('sampler', [None, OHEM])
@pytest.mark.parametrize('weights', [None, [0.5, 2.0], [1.0]])
def test_every_loss_of_mmseg_works_or_is_refused(weights, sampler, channels):
    """Its value is finite, and pixels without a label have no part in it or a remark says so."""
    names = _losses_of_mmseg()
    assert {'CrossEntropyLoss', 'FocalLoss', 'TverskyLoss', 'SiLogLoss'} <= set(names)
    passed = []
    for name in names:
        loss = dict(type=f'mmseg.{name}')
        if name == 'LovaszLoss':  # its default is refused by its own assert
            loss['reduction'] = 'none'
        try:
            given = loss if weights is None else dict(loss, class_weight=weights)
            model = head(given, sampler, out_channels=channels, threshold=0.5)
        except TypeError as error:  # it has no such option
            assert 'class_weight' in str(error)
            continue
        try:
            remarks = check_map_losses(model)
        except ConfigError as error:
            assert name in str(error)
            continue
        passed.append(name)
        logits, target, *_ = draw(channels, 2)
        weight = None if sampler is None else model[0].sampler.sample(logits, target[:, None])
        try:
            value = model[0].loss_decode(logits, target, weight=weight, ignore_index=255).mean()
        except ConfigError as error:  # ignored pixels meet the class weights of mmseg
            assert weights is not None and 'PixelCrossEntropyLoss' in str(error)
            continue
        assert value.isfinite(), name
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value, logits)
            beside = gradient.abs().amax(1)[target == 255].max()
            assert beside == 0 or any(name in remark for remark in remarks), name
    if weights is None and sampler is None and channels == 2:
        assert 'CrossEntropyLoss' in passed and 'TverskyLoss' in passed
