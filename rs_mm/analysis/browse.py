"""Pictures of augmented samples, for tools/analysis_tools/browse_dataset.py."""

from __future__ import annotations

import itertools
from pathlib import Path

from mmengine.registry import init_default_scope
from tqdm import tqdm

from rs_mm.engine.samplers import InfiniteSampler
from rs_mm.errors import ConfigError
from rs_mm.launch.config import load_config
from rs_mm.registry import DATASETS, VISUALIZERS
from rs_mm.visualization import save_sheet


def browse_dataset(
    config: str | Path,
    out: str | Path,
    num: int = 16,
    split: str = 'train',
    seed: int = 0,
    options: dict | list[str] | None = None,
) -> int:
    """Draws samples as the model would get them, with the visualizer of the config.

    Args:
        config: config file.
        out: folder of the pictures.
        num: number of samples, in shuffled order; more samples than the dataset has are repeated
            with new augmentation.
        split: ``train``, ``val`` or ``test``.
        seed: seed of the order and of the augmentation.
        options: overrides of the config.

    Returns:
        Number of pictures written.

    Raises:
        ConfigError: the config does not have the split, or no visualizer that draws samples.
    """
    cfg = load_config(config, options)
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        raise ConfigError(f'{config} has no {split}_dataloader.')
    init_default_scope(cfg.get('default_scope', 'rs_mm'))
    dataset = DATASETS.build(loader.dataset)
    visualizer = VISUALIZERS.build(
        dict(cfg.get('visualizer') or {}, vis_backends=None, name=f'browse {out}')
    )
    if not hasattr(visualizer, 'draw_sample'):
        raise ConfigError(
            f'{config}: the visualizer {type(visualizer).__name__} draws no single samples.'
        )
    visualizer.dataset_meta = getattr(dataset, 'metainfo', None)
    order = InfiniteSampler(dataset, shuffle=split == 'train', seed=seed)
    for number, index in enumerate(tqdm(itertools.islice(order, num), total=num)):
        item = dataset[index]
        sample = item['data_samples']
        name = f'{number:04d}_{visualizer.sample_name(sample)}'
        save_sheet(Path(out) / f'{name}.png', visualizer.draw_sample(sample, item['inputs']))
    return num
