"""Pictures of samples: of each tested sample for --show-dir, and of a few per validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from rs_mm.errors import ConfigError
from rs_mm.registry import HOOKS
from rs_mm.unwrap import unwrap
from rs_mm.visualization import save_sheet

# keys by which visualizers name a picture
_NAMING = ('pair_name', 'name', 'img_path', 'sample_idx', 'class_name')


@HOOKS.register_module()
class SampleVisualizationHook(Hook):
    """Draws each sample after its batch is tested.

    The run's visualizer draws: ``draw_sample(data_sample, inputs)`` returns an (H, W, 3) uint8 RGB
    picture and ``sample_name(data_sample)`` its file name without suffix.

    Args:
        draw: whether to draw at all; ``tools/test.py --show-dir`` sets it. Default: False.
        out_dir: folder of the pictures. Default: ``vis`` in the run's log folder.
        show: whether to open each picture in a window. Default: False.
        interval: draw one of this number of samples. Default: 1.
        save_mask: whether to save also the plain prediction, ``raw_mask(data_sample)`` of the
            visualizer (an (H, W) uint8 array), as ``NAME_mask.png``. Default: False.
        val_samples: number of samples that each validation sends to the visualizer's backends
            (TensorBoard, or files in the log folder), always the same ones. Default: 0.
    """

    def __init__(
        self,
        draw: bool = False,
        out_dir: str | None = None,
        show: bool = False,
        interval: int = 1,
        save_mask: bool = False,
        val_samples: int = 0,
    ) -> None:
        self.draw, self.out_dir, self.show = draw, out_dir, show
        self.interval, self.save_mask, self.val_samples = interval, save_mask, val_samples
        self._seen = 0

    def before_test(self, runner: Runner) -> None:
        self._seen = 0
        if self.draw:
            self._check_names(runner.visualizer, runner.test_loop.dataloader.dataset)

    def _check_names(self, visualizer, dataset):
        """Refuses two samples with the same picture name, before anything is computed."""
        if not hasattr(dataset, 'get_data_info'):
            return
        owners = {}
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            meta = {key: info[key] for key in _NAMING if key in info}
            meta.setdefault('sample_idx', index)
            name = visualizer.sample_name(BaseDataElement(metainfo=meta))
            files, own = (
                [name, *[f'{name}_mask'] * self.save_mask],
                str(info.get('img_path', index)),
            )
            for file in files:
                other = owners.setdefault(file.lower(), own)  # some file systems ignore case
                if other != own:
                    raise ConfigError(
                        f'two samples would be drawn as {file}.png, of {other} and of {own}: test '
                        'them apart, or rename one.'
                    )

    def before_val(self, runner: Runner) -> None:
        self._seen = 0

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if not is_main_process():
            return
        for i, sample in enumerate(outputs[: max(self.val_samples - self._seen, 0)]):
            picture = runner.visualizer.draw_sample(sample, _item(data_batch['inputs'], i))
            runner.visualizer.add_image(
                # backends do not create folders
                runner.visualizer.sample_name(sample).replace('/', '_'),
                picture,
                step=runner.iter,
            )
            self._seen += 1

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if not (self.draw or self.show):
            return
        folder = Path(self.out_dir or Path(runner.log_dir) / 'vis')
        inputs = data_batch['inputs']
        for i, sample in enumerate(outputs):
            if self._seen % self.interval == 0:
                self._draw(runner.visualizer, sample, _item(inputs, i), folder)
            self._seen += 1

    def after_test(self, runner: Runner) -> None:
        if self.draw and is_main_process():
            folder = self.out_dir or Path(runner.log_dir) / 'vis'
            runner.logger.info(f'The pictures are in {folder}')

    def draw_chosen(self, runner: Runner, rows: Sequence[int]) -> dict[int, str]:
        """Draws some samples of the test set, also without ``draw``.

        Args:
            runner: the runner with loaded weights.
            rows: positions of the samples in the dataset.

        Returns: Row -> the picture's file name; the first process draws shared samples.
        """
        if not is_main_process():
            return {}
        loader = runner.test_loop.dataloader
        model = unwrap(runner.model)
        folder, drawn = Path(self.out_dir or Path(runner.log_dir) / 'vis'), {}
        model.eval()
        for row in rows:
            batch = loader.collate_fn([loader.dataset[row]])
            with torch.no_grad():
                sample = model.test_step(batch)[0]
            picture = runner.visualizer.draw_sample(sample, _item(batch['inputs'], 0))
            drawn[row] = f'{runner.visualizer.sample_name(sample)}.png'
            save_sheet(folder / drawn[row], picture)
        return drawn

    def _draw(self, visualizer, sample, inputs, folder):
        picture = visualizer.draw_sample(sample, inputs)
        name = visualizer.sample_name(sample)
        if self.draw:
            save_sheet(folder / f'{name}.png', picture)
            if self.save_mask:
                save_sheet(folder / f'{name}_mask.png', visualizer.raw_mask(sample))
        if self.show:
            visualizer.show(picture, win_name=name)


def _item(inputs, i):
    """Returns sample ``i`` of a batch that is a list, a tensor, or a dict of either.

    With test-time augmentation (a list of views, each a list of samples) the first view is used.
    """
    if isinstance(inputs, dict):
        return {key: value[i] for key, value in inputs.items()}
    if isinstance(inputs[0], (list, tuple)):
        return inputs[0][i]
    return inputs[i]
