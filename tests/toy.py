"""A model and a dataset of a few lines, registered, for tests of what surrounds real ones."""

import random

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import nn

from rs_mm.datasets.seeding import SeededSampleMixin
from rs_mm.registry import DATASETS, METRICS, MODELS, TRANSFORMS


@MODELS.register_module()
class ToyModel(BaseModel):
    def __init__(self, width=4, dropout=0.5, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor, init_cfg)
        self.net = nn.Sequential(
            nn.Linear(3, width), nn.BatchNorm1d(width), nn.Dropout(dropout), nn.Linear(width, 1)
        )

    def forward(self, inputs, data_samples, mode='tensor'):
        inputs = torch.stack(list(inputs)) if isinstance(inputs, list) else inputs
        out = self.net(inputs)[:, 0]
        if mode == 'loss':
            target = torch.stack(list(data_samples))
            return dict(loss=(out - target).square().mean())
        return list(out)


@TRANSFORMS.register_module()
class ToyNoise:
    """Draws from all three global generators."""

    def __call__(self, results):
        noise = np.random.rand() + random.random() + float(torch.rand(()))
        return dict(inputs=results['x'] + 0.1 * noise, data_samples=results['x'].sum())


@DATASETS.register_module()
class ToyDataset(SeededSampleMixin, BaseDataset):
    def __init__(self, size=10, **kwargs):
        self.size = size
        super().__init__(**kwargs)

    def load_data_list(self):
        generator = torch.Generator().manual_seed(1)
        return [dict(x=torch.randn(3, generator=generator)) for _ in range(self.size)]


@METRICS.register_module()
class ToyMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(value) for value in data_samples]

    def compute_metrics(self, results):
        return dict(mean=sum(results) / len(results), count=len(results))


def toy_config(work_dir, iters=8, workers=0, batch_size=3, **over):
    """A complete training config around the toy parts."""
    data = dict(type='ToyDataset', pipeline=[dict(type='ToyNoise')])
    config = dict(
        default_scope='rs_mm',
        work_dir=str(work_dir),
        log_level='ERROR',
        custom_imports=dict(imports=['tests.toy']),
        experiment_name=f'toy{abs(hash((str(work_dir), iters)))}',
        model=dict(type='ToyModel'),
        train_dataloader=dict(
            batch_size=batch_size,
            num_workers=workers,
            dataset=data,
            sampler=dict(type='InfiniteSampler'),
        ),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=[dict(type='PolyLR', power=0.9, end=100, by_epoch=False)],
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iters, val_interval=100),
        val_cfg=None,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3)),
        randomness=dict(seed=5),
    )
    config.update(over)
    return config
