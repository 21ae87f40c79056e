"""A package beside ours, as Open-CD is: its parts in our configs, its configs in our tools.

Open-CD is not on the package index, so a stand-in of the same shape takes its place: registries in
``opencd.registry``, parts that import compiled ops of mmcv, a hook and a visualizer of mmseg's.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FILES = {
    'opencd/__init__.py': '',
    'opencd/registry.py': """
        from mmengine.registry import DATASETS as ROOT_DATASETS, HOOKS as ROOT_HOOKS
        from mmengine.registry import MODELS as ROOT_MODELS, METRICS as ROOT_METRICS
        from mmengine.registry import Registry
        MODELS = Registry('model', parent=ROOT_MODELS, locations=['opencd.parts'])
        DATASETS = Registry('dataset', parent=ROOT_DATASETS, locations=['opencd.parts'])
        METRICS = Registry('metric', parent=ROOT_METRICS, locations=['opencd.parts'])
        HOOKS = Registry('hook', parent=ROOT_HOOKS, locations=['opencd.parts'])
        """,
    'opencd/parts.py': """
        import numpy as np
        import torch
        from mmcv.ops import DeformConv2d, SigmoidFocalLoss
        from mmengine.dataset import BaseDataset
        from mmengine.evaluator import BaseMetric
        from mmengine.hooks import Hook
        from mmengine.model import BaseModel
        from torch import nn
        from opencd.registry import DATASETS, HOOKS, METRICS, MODELS


        @MODELS.register_module()
        class Detector(BaseModel):
            def __init__(self, width=2):
                super().__init__()
                self.net = nn.Linear(3, width)

            def forward(self, inputs, data_samples=None, sample_idx=None, mode='tensor'):
                out = self.net(torch.stack(inputs)).mean(1)
                return dict(loss=out.square().mean()) if mode == 'loss' else list(out)


        @DATASETS.register_module()
        class Pairs(BaseDataset):
            def load_data_list(self):
                return [dict(inputs=torch.randn(3), data_samples=i) for i in range(6)]


        @METRICS.register_module()
        class Mean(BaseMetric):
            def process(self, data_batch, data_samples):
                self.results += [float(x) for x in data_samples]

            def compute_metrics(self, results):
                return dict(mean=sum(results) / len(results))


        @HOOKS.register_module()
        class CDVisualizationHook(Hook):
            def __init__(self, draw=False, show=False, wait_time=0):
                self.draw = draw

            def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
                if self.draw:
                    runner.visualizer.add_image(f'pair{batch_idx}', np.zeros((8, 8, 3), 'uint8'))
        """,
}

CONFIG = """
default_scope = '{scope}'
model = dict(type='{prefix}Detector')
data = dict(type='{prefix}Pairs')
train_dataloader = dict(batch_size=2, num_workers=0, dataset=data,
                        sampler=dict(type='InfiniteSampler'))
test_dataloader = dict(batch_size=2, num_workers=0, dataset=data,
                       sampler=dict(type='DefaultSampler', shuffle=False))
test_evaluator = dict(type='{prefix}Mean')
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=9)
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4),
                     visualization=dict(type='{prefix}CDVisualizationHook'))
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
"""


@pytest.fixture(scope='module')
def neighbour(tmp_path_factory):
    folder = tmp_path_factory.mktemp('neighbour')
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def run(folder, *arguments):
    env = {**os.environ, 'PYTHONPATH': f'{folder}{os.pathsep}{ROOT}', 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.mark.parametrize('scope, prefix', [('opencd', ''), ('rs_mm', 'opencd.')])
def test_train_test_and_draw(neighbour, scope, prefix):
    config = neighbour / f'{scope}_config.py'
    config.write_text(CONFIG.format(scope=scope, prefix=prefix))
    run(neighbour, ROOT / 'tools/train.py', config)
    work = neighbour / 'work_dirs' / config.stem
    run(
        neighbour,
        ROOT / 'tools/test.py',
        config,
        work / 'iter_4.pth',
        '--show-dir',
        'shown',
        '--out',
        'metrics.json',
        '--work-dir',
        work,
    )
    assert list((neighbour / 'shown').rglob('pair0*.png'))
    assert 'mean' in (neighbour / 'metrics.json').read_text()
