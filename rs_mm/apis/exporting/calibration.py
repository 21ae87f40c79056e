"""Images that int8 takes its ranges from: those the model was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rs_mm.datasets.wrapped_datasets import dataset_parts
from rs_mm.errors import ConfigError
from rs_mm.registry import DATASETS


def training_images(cfg: Mapping, count: int) -> list[str]:
    """Images of a config's training set, spread evenly over it; test images would flatter int8.

    Args:
        cfg: a whole config.
        count: how many samples at most.

    Returns:
        Paths of files; before and after in turn for a change detector.

    Raises:
        ConfigError: the count is not positive, there is no training set, or its images are no
            files (an LMDB).
    """
    if count < 1:
        raise ConfigError(f'--calibrate-train {count}: give a positive number of samples.')
    loader = cfg.get('train_dataloader')
    if not loader:
        raise ConfigError(
            'the config has no `train_dataloader` to calibrate with; name images by --calibrate.'
        )
    paths = []
    for part in dataset_parts(loader['dataset']):
        dataset = DATASETS.build({**part, 'pipeline': []})
        samples = (dataset.get_data_info(i).get('img_path') for i in range(len(dataset)))
        paths += [[sample] if isinstance(sample, str) else list(sample or ()) for sample in samples]
    chosen = paths[:: max(1, len(paths) // count)][:count]
    for path in [path for sample in chosen[:1] for path in sample] or ['']:
        if not Path(path).is_file():
            raise ConfigError(
                f'the training set of the config has no image files ({path!r}); name images by '
                '--calibrate.'
            )
    return [path for sample in chosen for path in sample]
