"""The seeded 70 / 10 / 20 % split of the graph relation network."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from rs_mm.errors import ConfigError
from rs_mm.registry import TASK_UTILS

_BOUNDS = dict(train=(0.0, 0.7), val=(0.7, 0.8), test=(0.8, 1.0))


@TASK_UTILS.register_module()
class SceneSplit:
    """The names of one split, shuffled scene by scene with Python's generator.

    Folders with the same name are a scene. Scenes are taken in the order of their names, their
    files in the order of their names as text (``airport_1``, ``airport_10``, ``airport_100``, …),
    and shuffled by one generator that runs through all scenes. The first ``int(0.7 n)`` of the n
    files of a scene are for training, those up to ``int(0.8 n)`` for validation; the products are
    truncated as published, so 90 files give 62.

    The split depends on the files: if images are missing, the split is another one.

    Source: official code of Kang et al., TGRS 2020 (UCMerced, AID and DFC15 multi-label).

    Args:
        subset: ``'train'``, ``'val'`` or ``'test'``.
        by_folder: False treats all files as one scene, as published for DFC15.
        seed: seed of the shuffle. Default: 42, as published.
        expected: number of images of the whole dataset; any other number is an error.
    """

    def __init__(
        self, subset: str, by_folder: bool = True, seed: int = 42, expected: int | None = None
    ) -> None:
        if subset not in _BOUNDS:
            raise ConfigError(
                f'SceneSplit: `subset` must be one of {", ".join(_BOUNDS)}, not {subset!r}.'
            )
        self.subset, self.by_folder = subset, by_folder
        self.seed, self.expected = seed, expected

    def __call__(self, paths: Mapping[str, str]) -> list[str]:
        """Returns the names of the split in order.

        Args:
            paths: path of the image of every name.
        """
        if self.expected is not None and len(paths) != self.expected:
            raise ConfigError(
                f'the published split needs all {self.expected} images, {len(paths)} are there; '
                'complete the folder, or set `expected=None` to split what is there.'
            )
        scenes: dict[str, list] = {}
        for name, path in paths.items():
            scene = Path(path).parent.name if self.by_folder else ''
            scenes.setdefault(scene, []).append((Path(path).name, name))
        generator, names = random.Random(self.seed), []
        low, high = _BOUNDS[self.subset]
        for scene in sorted(scenes):
            files = sorted(scenes[scene])
            generator.shuffle(files)
            names += [name for _, name in files[int(low * len(files)) : int(high * len(files))]]
        return names
