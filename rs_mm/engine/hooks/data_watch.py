"""Do the data stay what they were, and do the labels say anything?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from rs_mm.registry import HOOKS

_IGNORED = 255
_FEW = 3  # sizes of images; a set of photographs has any number of them


@HOOKS.register_module()
class DataWatchHook(Hook):
    """Warns when images come in another size than before, or labels hold one class alone.

    Files that are replaced while a run reads them go unnoticed otherwise: the pipeline crops or
    resizes, and the loss of empty labels is low. What was read during the first epoch counts as
    before. Labels are judged by whole epochs. An epoch here has ``longest`` iterations at most.

    ``tools/train.py`` adds this hook to every run.

    Args:
        longest: iterations after which an epoch of many is judged.
    """

    def __init__(self, longest: int = 500) -> None:
        self.longest = longest
        self._sizes: set[tuple] = set()
        self._known: set[tuple] = set()
        self._values: set[int] = set()
        self._images = self._steps = 0
        self._said: set[str] = set()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Looks at the samples of a batch, before the model moves them to its device."""
        found = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        samples = [s for s in (() if found is None else found) if isinstance(s, BaseDataElement)]
        if not samples:  # a model of the user's may take tensors
            return
        self._look_at_sizes(samples)
        for sample in samples:
            if len(self._values) < 2:
                self._values |= _values(sample)
        self._images += len(samples)
        self._steps += 1
        if self._steps >= min(len(runner.train_dataloader), self.longest):
            self._judge_labels(runner)
            self._known |= self._sizes
            self._steps = self._images = 0
            self._values = set()

    def _look_at_sizes(self, samples: Sequence) -> None:
        found = {sample.get('ori_shape'): sample for sample in samples}
        found.pop(None, None)
        self._sizes |= set(found)
        if not found or not self._known or len(self._known) > _FEW or self._known & set(found):
            return
        size, sample = next(iter(found.items()))
        before = ' or '.join(_written(known) for known in sorted(self._known))
        path = sample.get('img_path') or 'an image'
        path = path if isinstance(path, str) else path[0]
        self._say(
            'size',
            f'{path} has {_written(size)} pixels, and all images before had {before}. If the files '
            'were replaced during the run, its results mix both: start it again.',
        )

    def _judge_labels(self, runner):
        if len(self._values) != 1:
            self._said.discard('labels')
            return
        value = next(iter(self._values))
        classes = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes')
        name = f' ({classes[value]})' if classes and 0 <= value < len(classes) else ''
        what = 'name no class' if value < 0 else f'hold class {value}{name} alone'
        self._say(
            'labels',
            f'all labels of the last {self._images} images {what}, so that the run learns nothing '
            'else: look at the label files, e.g. with tools/analysis_tools/check_dataset.py.',
        )

    def _say(self, kind, text):
        if kind not in self._said:
            self._said.add(kind)
            print_log(text, 'current', logging.WARNING)


def _values(sample) -> set[int]:
    """The classes that a sample's label holds; two are as good as many. -1: it names none."""
    dense, tags = sample.get('gt_sem_seg'), sample.get('gt_label')
    if dense is not None:
        known = dense.data if dense.data.max() < _IGNORED else dense.data[dense.data != _IGNORED]
        return {int(known.min()), int(known.max())} if known.numel() else set()
    if torch.is_tensor(tags):
        return set(tags.nonzero().flatten().tolist()) if tags.any() else {-1}
    return set()


def _written(size):
    return ' x '.join(map(str, size))
