import numpy as np
import pytest
from mmengine.config import Config
from mmengine.visualization import Visualizer

from rs_mm.engine.hooks import SampleVisualizationHook
from rs_mm.errors import ConfigError
from rs_mm.launch.config import build_runner
from rs_mm.registry import VISUALIZERS
from rs_mm.visualization import ChangeVisualizer
from tests.toy import toy_config


@VISUALIZERS.register_module()
class ToyVisualizer(Visualizer):
    names = iter(range(1000))

    def draw_sample(self, data_sample, inputs):
        assert inputs.shape == (3,)
        return np.zeros((4, 5, 3), np.uint8)

    def sample_name(self, data_sample):
        return f'sample{next(self.names)}'

    def raw_mask(self, data_sample):
        return np.full((4, 5), 255, np.uint8)


def config(folder, hook, backend='LocalVisBackend'):
    config = toy_config(folder, iters=2)
    loader = dict(
        batch_size=4,
        num_workers=0,
        dataset=config['train_dataloader']['dataset'],
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    config.update(
        val_dataloader=loader,
        test_dataloader=loader,
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        val_evaluator=dict(type='ToyMetric'),
        test_evaluator=dict(type='ToyMetric'),
        experiment_name=str(folder).replace('/', '_'),
        visualizer=dict(type='ToyVisualizer', name=str(folder), vis_backends=[dict(type=backend)]),
    )
    config['default_hooks']['visualization'] = dict(type='SampleVisualizationHook', **hook)
    config['train_cfg']['val_interval'] = 2
    return Config(config)


def test_a_picture_per_tested_sample(tmp_path):
    out = tmp_path / 'out'
    build_runner(config(tmp_path, dict(draw=True, out_dir=str(out), save_mask=True))).test()
    assert len(list(out.glob('*[0-9].png'))) == 10 and len(list(out.glob('*_mask.png'))) == 10
    build_runner(config(tmp_path / 'b', dict(draw=True, interval=3))).test()
    assert len(list((tmp_path / 'b').rglob('vis/*.png'))) == 4


def test_a_few_pictures_per_validation(tmp_path):
    build_runner(config(tmp_path, dict(val_samples=3))).train()
    assert len(list(tmp_path.rglob('vis_image/*.png'))) == 3


def test_pictures_in_tensorboard(tmp_path):
    events = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    build_runner(config(tmp_path, dict(val_samples=3), 'TensorboardVisBackend')).train()
    log = events.EventAccumulator(str(next(tmp_path.rglob('events.out*'))))
    log.Reload()
    assert len(log.Tags()['images']) == 3


def test_a_second_run_has_folders_of_its_own(tmp_path):
    for name in 'ab':
        cfg = config(tmp_path / name, dict(val_samples=1))
        cfg.visualizer.name = 'same'
        build_runner(cfg).train()
        assert len(list((tmp_path / name).rglob('vis_image/*.png'))) == 1


class Named(list):
    """A dataset of which only the names of its samples are known."""

    def get_data_info(self, index):
        return dict(pair_name=self[index], img_path=[f'{index}/A', f'{index}/B'])


@pytest.mark.parametrize(
    'names, mask, clash',
    [
        (['a/b', 'a_b', 'x y'], True, None),
        (['a', 'b', 'a'], False, 'a.png'),
        (['a', 'A'], False, 'A.png'),
        (['a', 'a_mask'], True, 'a_mask.png'),
        (['a', 'a_mask'], False, None),
    ],
)
def test_pictures_that_would_share_a_file_are_told_before_the_test(names, mask, clash):
    hook = SampleVisualizationHook(draw=True, save_mask=mask)
    if clash is None:
        hook._check_names(ChangeVisualizer(), Named(names))
        return
    with pytest.raises(ConfigError, match=f'two samples would be drawn as {clash}'):
        hook._check_names(ChangeVisualizer(), Named(names))
