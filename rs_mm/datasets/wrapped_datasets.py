"""What lies in mmengine's wrapper datasets, for what looks at every image once."""

from __future__ import annotations

from collections.abc import Mapping


def dataset_parts(config: Mapping) -> list[dict]:
    """The configs of the datasets in a config, in order, without the wrappers around them.

    Args:
        config (Mapping): a dataset's config; may be a ``ConcatDataset``, ``RepeatDataset`` or
            ``ClassBalancedDataset`` of mmengine, also one within another.

    Returns:
        list[dict]: one config, or those of a ``ConcatDataset``.
    """
    kind = config.get('type', '')
    kind = kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__
    if kind == 'ConcatDataset':
        return [part for inner in config['datasets'] for part in dataset_parts(inner)]
    if kind in ('RepeatDataset', 'ClassBalancedDataset'):
        return dataset_parts(config['dataset'])
    return [dict(config)]
