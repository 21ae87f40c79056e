"""The dataloader of a split, read from a config."""

from __future__ import annotations

from mmengine.config import Config

from rs_mm.datasets.wrapped_datasets import tested_pipeline, with_settings
from rs_mm.errors import ConfigError

SPLITS = ('train', 'val', 'test')


def split_loader(cfg: Config, split: str) -> Config:
    """Returns the dataloader of a split with the test pipeline, in order, every image once.

    Raises:
        ConfigError: the split does not exist.
    """
    if split not in SPLITS:
        raise ConfigError(f'--split {split}: use {", ".join(SPLITS)}.')
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        raise ConfigError(f'--split {split}: the config has no `{split}_dataloader`.')
    if split != 'train':
        return loader
    # training images with the test pipeline
    pipeline = tested_pipeline(cfg)
    settings = dict(test_mode=True) | ({} if pipeline is None else dict(pipeline=pipeline))
    return dict(cfg.test_dataloader, dataset=with_settings(loader.dataset, **settings))
