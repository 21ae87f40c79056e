"""A benchmark of the data pipeline of a config and of its steps."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Sequence

import cv2
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from rs_mm.datasets.seeding import SeededIndex
from rs_mm.datasets.wrapped_datasets import innermost
from rs_mm.engine.samplers import derive_seed, permutation
from rs_mm.errors import ConfigError
from rs_mm.launch.config import set_up_torch
from rs_mm.registry import DATASETS


def measure_data(
    cfg: Config, split: str = 'train', seconds: float = 5.0, workers: Sequence[int] = ()
) -> dict:
    """Measures the dataset of a split in one process on one thread, like a worker.

    Args:
        cfg: a config with existing data.
        split: ``train``, ``val`` or ``test``.
        seconds: approximate time of each measurement.
        workers: numbers of workers for measurements of the whole loader.

    Returns:
        ``type`` of the dataset, ``samples`` it has, ``per_second`` samples of one worker,
        ``steps``: list of (step of the pipeline, ms per sample), the largest first, and
        ``loader``: number of workers -> samples per second that reach the training process.
    """
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        raise ConfigError(
            f'--data: the config has no `{split}_dataloader`; choose another by --split.'
        )
    init_default_scope(cfg.get('default_scope', 'rs_mm'))
    set_up_torch(cfg.get('torch_cfg') or {})  # workers have what the training process has set
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        dataset = DATASETS.build(loader.dataset)
        if len(dataset) == 0:
            raise ConfigError(f'--data: the {split} dataset is empty.')
        rate, steps = _measure_worker(dataset, seconds)
        through = {count: _measure_loader(loader, dataset, count, seconds) for count in workers}
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    return dict(
        type=type(dataset).__name__,
        samples=len(dataset),
        per_second=rate,
        steps=steps,
        loader=through,
    )


def _order(dataset):
    """Yields the samples of a training, epoch after epoch, each with its own augmentation."""
    for epoch in itertools.count():
        for place, index in enumerate(permutation(len(dataset), 0, epoch)):
            yield SeededIndex(index, derive_seed(0, epoch, place))


def _measure_worker(dataset, seconds):
    spent, order = defaultdict(float), _order(dataset)
    for index in itertools.islice(order, 2):  # setup that happens once does not count
        dataset[index]
    _time_steps(dataset, spent)
    start, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - start < seconds:
        dataset[next(order)]
        count += 1
    total = time.perf_counter() - start
    spent['(dataset)'] = total - sum(spent.values())
    steps = sorted(
        ((name, 1e3 * value / count) for name, value in spent.items()), key=lambda step: -step[1]
    )
    return count / total, steps


def _time_steps(dataset, spent):
    dataset = innermost(dataset)
    if isinstance(getattr(dataset, 'pipeline', None), Compose):
        dataset.pipeline.transforms = [
            _Timed(f'{number}. {type(step).__name__}', step, spent)
            for number, step in enumerate(dataset.pipeline.transforms, 1)
        ]


class _Timed:
    def __init__(self, name, step, spent):
        self.name, self.step, self.spent = name, step, spent

    def __call__(self, results):
        start = time.perf_counter()
        results = self.step(results)
        self.spent[self.name] += time.perf_counter() - start
        return results


def _measure_loader(config, dataset, workers, seconds):
    config = dict(config, dataset=dataset, num_workers=workers)
    if not workers:
        for key in ('persistent_workers', 'prefetch_factor'):
            config.pop(key, None)
    loader = Runner.build_dataloader(config, seed=0)
    if len(loader) == 0:
        raise ConfigError(
            f'--data: the dataset has {len(dataset)} samples, fewer than a batch of '
            f'{config["batch_size"]}.'
        )
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    for _ in range(1 + 2 * workers):  # workers start, and prepare some batches in advance
        next(batches)
    start, count = time.perf_counter(), 0
    while not count or time.perf_counter() - start < seconds:
        next(batches)
        count += loader.batch_size
    return count / (time.perf_counter() - start)
