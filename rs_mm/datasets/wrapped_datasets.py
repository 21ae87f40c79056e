"""The datasets inside mmengine's wrapper datasets, for code that reads every image once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rs_mm.errors import ConfigError

# steps that take or return values from 0 to 255
_EIGHT_BIT = ('LoadEpisode', 'LoadRGBImage', 'MultiImgLoadImageFromFile', 'ScaleBands')


def dataset_parts(config: Mapping) -> list[dict]:
    """Returns the configs of the datasets in a config, in order, without wrappers.

    Args:
        config: a dataset's config; may be a ``ConcatDataset``, ``RepeatDataset`` or
            ``ClassBalancedDataset`` of mmengine, also nested.

    Returns: One config, or the configs of the parts of a ``ConcatDataset``.
    """
    kind = config.get('type', '')
    kind = kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__
    if kind == 'ConcatDataset':
        return [part for inner in config['datasets'] for part in dataset_parts(inner)]
    if kind in ('RepeatDataset', 'ClassBalancedDataset'):
        return dataset_parts(config['dataset'])
    return [dict(config)]


def tested_pipeline(cfg: Mapping) -> list | None:
    """Returns the pipeline that prepares images for a test, also if the test dataset is a wrapper.

    Args:
        cfg: a whole config; without ``test_dataloader``, ``val_dataloader`` is used.

    Returns: Configs of the steps; None if the dataset has no pipeline.

    Raises:
        ConfigError: there is no test dataset, or the datasets in a wrapper have different
            pipelines.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not loader:
        raise ConfigError(
            'the config has no `test_dataloader` and no `val_dataloader`, whose pipeline says how '
            'images are prepared; add one.'
        )
    pipelines = [part.get('pipeline') for part in dataset_parts(loader['dataset'])]
    if any(pipeline != pipelines[0] for pipeline in pipelines):
        raise ConfigError(
            'the datasets in `test_dataloader` have different pipelines, so that it '
            'is not known which prepares other images; give them one, or set '
            '`test_dataloader.dataset` to one of them.'
        )
    return pipelines[0]


def with_settings(config: Mapping, **settings: Any) -> dict:
    """Returns a dataset's config with other settings; in a wrapper, the inner datasets get them."""
    config = dict(config)
    if 'datasets' in config:
        return config | dict(
            datasets=[with_settings(part, **settings) for part in config['datasets']]
        )
    if 'dataset' in config:
        return config | dict(dataset=with_settings(config['dataset'], **settings))
    return config | settings


def innermost(dataset: Any) -> Any:
    """Returns the built dataset inside mmengine's wrappers; a ``ConcatDataset`` is returned
    unchanged."""
    while hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return dataset


def takes_eight_bit(pipeline: Sequence[dict]) -> bool:
    """Returns whether the steps of a pipeline config work on values from 0 to 255."""
    return any(str(step.get('type')).rpartition('.')[2] in _EIGHT_BIT for step in pipeline)
