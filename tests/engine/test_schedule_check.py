"""A schedule that ends before the training does is told before the first step."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import scheduler as kinds
from mmengine.runner.loops import EpochBasedTrainLoop, IterBasedTrainLoop

from rs_mm.engine.counted_poly_lr import CountedPolyLR
from rs_mm.engine.schedule_check import check_schedules
from rs_mm.errors import ConfigError


def loop(iterations=None, epochs=None):
    kind = IterBasedTrainLoop if epochs is None else EpochBasedTrainLoop
    values = dict(_max_iters=iterations or 10 * epochs, _max_epochs=epochs or 1)
    made = kind.__new__(kind)
    made.__dict__.update(values)
    return made


def schedules(*parts):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    return [getattr(kinds, name)(optimizer, **options) for name, options in parts]


WARM_UP = ('LinearLR', dict(start_factor=0.01, begin=0, end=10, by_epoch=False))


@pytest.mark.parametrize(
    'parts',
    [
        [WARM_UP, ('PolyLR', dict(begin=10, end=50, eta_min=0.0, by_epoch=False))],
        [('PolyLR', dict(end=50, by_epoch=False))],
        [('LinearLR', dict(start_factor=1.0, end_factor=0.0, end=50, by_epoch=False))],
        [('OneCycleLR', dict(eta_max=0.1, total_steps=50, by_epoch=False))],
        [
            (
                'CosineRestartLR',
                dict(periods=[20, 30], restart_weights=[1, 1], eta_min=0, by_epoch=False),
            )
        ],
    ],
)
def test_a_rest_without_training_is_refused(parts):
    check_schedules(schedules(*parts), loop(50))
    with pytest.raises(ConfigError, match='50 of 100 iterations'):
        check_schedules(schedules(*parts), loop(100))


def test_a_low_rest_is_a_warning_and_a_full_one_is_none():
    low = schedules(('PolyLR', dict(end=50, eta_min=1e-4, by_epoch=False)))
    (remark,) = check_schedules(low, loop(100))
    assert '50 of 100' in remark and '0.0001' in remark
    # its last step is not quite the end of the half wave
    cosine = schedules(('CosineAnnealingLR', dict(begin=0, end=50, by_epoch=False)))
    assert '50 of 100' in check_schedules(cosine, loop(100))[0]
    for parts in (
        [WARM_UP],
        [WARM_UP, ('MultiStepLR', dict(milestones=[60], by_epoch=False))],
        [WARM_UP, ('ExponentialLR', dict(gamma=0.99, begin=10, by_epoch=False))],
        [('ConstantLR', dict(factor=0.5, end=10, by_epoch=False))],
    ):
        assert check_schedules(schedules(*parts), loop(100)) == []


def test_a_cosine_that_rises_again_is_a_warning():
    (remark,) = check_schedules(
        schedules(('CosineAnnealingLR', dict(T_max=30, by_epoch=False))), loop(100)
    )
    assert 'T_max=30' in remark and 'rises again' in remark


def test_epochs_are_counted_in_epochs():
    parts = [('PolyLR', dict(end=5, by_epoch=True))]
    assert check_schedules(schedules(*parts), loop(epochs=5)) == []
    with pytest.raises(ConfigError, match='5 of 9 epochs'):
        check_schedules(schedules(*parts), loop(epochs=9))
    # iterations given where epochs were meant
    with pytest.raises(ConfigError, match='5 of 90 iterations'):
        check_schedules(schedules(('PolyLR', dict(end=5, by_epoch=False))), loop(epochs=9))
    with pytest.raises(ConfigError, match='by_epoch=False'):
        check_schedules(schedules(*parts), loop(100))


def test_a_resumed_schedule_is_followed_from_where_it_stands():
    (made,) = schedules(('PolyLR', dict(end=4, by_epoch=False)))
    for _ in range(4):
        made.optimizer.step()
        made.step()
    with pytest.raises(ConfigError, match='as the checkpoint has it.*load_from'):
        check_schedules([made], loop(8), resumed=True)


def test_following_leaves_the_schedule_alone():
    made = schedules(WARM_UP, ('PolyLR', dict(begin=10, end=50, eta_min=1e-3, by_epoch=False)))
    before = [(s.last_step, s._global_step, s.optimizer.param_groups[0]['lr']) for s in made]
    check_schedules(made, loop(100))
    assert before == [
        (s.last_step, s._global_step, s.optimizer.param_groups[0]['lr']) for s in made
    ]


def test_counted_schedule_of_few_shot_training():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    made = CountedPolyLR(optimizer, end=50)
    assert check_schedules([made], loop(50)) == []
    with pytest.raises(ConfigError, match='50 of 80'):
        check_schedules([made], loop(80))


def test_schedules_of_other_parameters_are_left_alone():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    made = kinds.PolyMomentum(optimizer, end=50, by_epoch=False)
    assert check_schedules([made], loop(100)) == []
    assert check_schedules([SimpleNamespace(param_name='lr')], loop(100)) == []
