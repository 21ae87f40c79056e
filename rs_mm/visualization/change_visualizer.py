"""Pictures of a change map: both dates, truth, prediction, and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.visualization import Visualizer
from mmseg.structures import SegDataSample
from torch import Tensor

from rs_mm.evaluation.change_scores import change_scores, confusion_matrix
from rs_mm.rasters.values import stretch
from rs_mm.registry import VISUALIZERS

from .sheet import Panel, draw_sheet

# Okabe and Ito's colours, which colour-blind readers can distinguish; white is correct
_IGNORED = 'not evaluated'
LEGEND = {
    'hit (changed, found)': (255, 255, 255),
    'false alarm': (213, 94, 0),
    'miss': (86, 180, 233),
    _IGNORED: (150, 110, 150),
}
_WRONG_CLASS = 'change of the wrong class', (255, 225, 0)
_OVERLAY = (255, 225, 0)


@VISUALIZERS.register_module()
class ChangeVisualizer(Visualizer):
    """A visualizer that draws one picture per pair.

    With labels and a prediction: date 1, date 2, ground truth, prediction, error map, and F1 and
    IoU of *changed*. With more than two classes the legend names each, and a found change of
    another class has its own colour. Without labels: date 1, date 2, and the prediction over date
    2. Without a prediction (browsing a dataset): date 1, date 2, label.

    Args:
        bands: bands of a date for red, green, blue. Default:
            2, 1, 0 (images are loaded as BGR), or the only band.
        panel_size: side of each picture in pixels. Default: the longer side of the
            images, but 256 to 512.
        ignore_index: label that is not evaluated.
        **kwargs: arguments of mmengine's ``Visualizer``.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        bands: tuple[int, int, int] | None = None,
        panel_size: int | None = None,
        ignore_index: int = 255,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.bands = bands
        self.panel_size = panel_size
        self.ignore_index = ignore_index

    def draw_sample(self, data_sample: SegDataSample, inputs: Tensor) -> np.ndarray:
        """Draws a pair.

        Args:
            data_sample: may hold ``gt_sem_seg`` and ``pred_sem_seg``, (1, H, W).
            inputs: (2 * C, h, w) as loaded: date 1, then date 2.

        Returns:
            (H', W', 3) uint8 RGB.
        """
        first, second = self._dates(inputs)
        label, prediction = (_mask(data_sample, key) for key in ('gt_sem_seg', 'pred_sem_seg'))
        panels, legend = [Panel(first, 'date 1'), Panel(second, 'date 2')], None
        if label is not None:
            panels.append(Panel(self._paint(label, self.ignore_index), 'ground truth'))
            if (label == self.ignore_index).any():
                legend = {_IGNORED: LEGEND[_IGNORED]}
        if prediction is not None and label is None:
            share = (prediction > 0).mean()
            colours = self._colours() if self._many() else None
            panels.append(
                Panel(
                    _overlay(second, prediction, colours),
                    f'prediction over date 2\n{share:.1%} changed',
                )
            )
        elif prediction is not None:
            panels.append(Panel(self._paint(prediction), 'prediction'))
            panels.append(
                Panel(
                    _errors(second, label, prediction, self.ignore_index),
                    _caption(label, prediction, self.ignore_index),
                )
            )
            legend = {text: colour for text, colour in LEGEND.items() if text != _IGNORED or legend}
            if self._many():
                legend = dict([*legend.items(), _WRONG_CLASS])
        if self._many():
            colours = self._colours()[: len(self._meta('classes', ()))].tolist()
            names = dict(zip(self._meta('classes', ()), map(tuple, colours)))
            legend = {**names, **{f'errors: {text}': c for text, c in (legend or {}).items()}}
        size = self.panel_size or int(np.clip(max(first.shape[:2]), 256, 512))
        return draw_sheet(
            [panels], title=self.sample_name(data_sample), legend=legend, panel_size=size
        )

    def sample_name(self, data_sample: Any) -> str:
        """Returns the dataset's name of the pair, or the stem of date 1's file."""
        meta = data_sample.metainfo
        return meta.get('pair_name') or Path(str((meta.get('img_path') or ['pair'])[0])).stem

    def raw_mask(self, data_sample: Any) -> np.ndarray:
        """Returns the prediction as (H, W) uint8: 0 unchanged, 255 changed; with more than two
        classes, class indices.
        """
        mask = _mask(data_sample, 'pred_sem_seg').astype(np.uint8)
        return mask if self._many() else np.where(mask > 0, 255, 0).astype(np.uint8)

    def _meta(self, key, default):
        return (self.dataset_meta or {}).get(key) or default

    def _many(self):
        return len(self._meta('classes', ())) > 2

    def _colours(self):
        """Returns the dataset's colours by class; classes without a colour are white, class 0 is
        black."""
        colours = np.full((256, 3), 255, np.uint8)
        colours[0] = 0
        palette = np.asarray(self._meta('palette', [[0, 0, 0]]), np.uint8)
        colours[: len(palette)] = palette
        return colours

    def _paint(self, mask, ignore_index=None):
        colours = self._colours()
        if ignore_index is not None:
            colours[ignore_index] = LEGEND[_IGNORED]
        return colours[mask]

    def _dates(self, inputs):
        planes = inputs.detach().cpu().numpy()
        count = planes.shape[0] // 2
        bands = self.bands or ((2, 1, 0) if count >= 3 else (0, 0, 0))
        return [
            _displayable(planes[i * count : (i + 1) * count][list(bands)].transpose(1, 2, 0))
            for i in (0, 1)
        ]


def _displayable(image):
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    low, high = np.percentile(image, (2, 98), axis=(0, 1))
    return stretch(image, low, high)


def _mask(sample, key):
    return sample.get(key).data[0].detach().cpu().numpy() if key in sample else None


def _fit(image, shape):
    """Returns the image at the size of a mask, which differs if the pipeline resized the pair."""
    return image if image.shape[:2] == shape else cv2.resize(image, shape[::-1])


def _overlay(image, prediction, colours=None):
    image = _fit(image, prediction.shape).copy()
    changed = prediction > 0
    tint = np.array(_OVERLAY) if colours is None else colours[prediction[changed]]
    image[changed] = (0.5 * image[changed] + 0.5 * tint).astype(np.uint8)
    outlines, _ = cv2.findContours(changed.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, outlines, -1, _OVERLAY, max(1, max(image.shape) // 400))
    return image


def _errors(image, label, prediction, ignore_index):
    """Draws hits, wrong classes, false alarms and misses on a dimmed grey image."""
    grey = cv2.cvtColor(_fit(image, label.shape), cv2.COLOR_RGB2GRAY)
    canvas = (grey[..., None] * 0.45).astype(np.uint8).repeat(3, axis=2)
    true, found = label > 0, prediction > 0
    hit, alarm, miss, ignored = LEGEND.values()
    canvas[true & found] = _WRONG_CLASS[1]
    canvas[true & (label == prediction)] = hit
    canvas[~true & found] = alarm
    canvas[true & ~found] = miss
    canvas[label == ignore_index] = ignored
    return canvas


def _caption(label, prediction, ignore_index):
    import torch

    # as in the panel: changed or unchanged
    changed = np.where(label == ignore_index, ignore_index, label > 0)
    counts = confusion_matrix(
        torch.from_numpy(prediction > 0), torch.from_numpy(changed), ignore_index=ignore_index
    )
    scores = change_scores(counts)
    if not counts[1:].sum():
        alarms = int(counts[0, 1:].sum())
        return f'errors\nnothing changed here; {alarms} px false alarms'
    f1, iou = (np.nan_to_num(scores[key][1]) for key in ('Fscore', 'IoU'))
    return f'errors\nF1 {f1:.1%}, IoU {iou:.1%}'
