"""A picture of a sample with its labels, for browsing a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.visualization import Visualizer
from torch import Tensor

from rs_mm.registry import VISUALIZERS
from rs_mm.structures import EmbeddingDataSample

from .retrieval_sheet import to_rgb
from .sheet import Panel, draw_sheet

_TRUE_COLOUR = ('B04', 'B03', 'B02')


@VISUALIZERS.register_module()
class MultiLabelVisualizer(Visualizer):
    """A visualizer that draws an image with the names of its labels and of predicted labels.

    Args:
        bands: bands for red, green and blue. Default: B04, B03 and B02 if the sample names its
            bands, else the first three.
        threshold: least score of a found class. Default: 0.5.
        **kwargs: arguments of mmengine's ``Visualizer``.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        bands: tuple[int, int, int] | None = None,
        threshold: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.bands, self.threshold = bands, threshold

    def draw_sample(self, data_sample: EmbeddingDataSample, inputs: Tensor) -> np.ndarray:
        """Draws a sample.

        Args:
            data_sample: may hold ``gt_label`` and ``score``, (L,).
            inputs: (C, H, W), normalised or not; its values are stretched.

        Returns:
            (H', W', 3) uint8 RGB.
        """
        image = to_rgb(inputs.permute(1, 2, 0).cpu().numpy(), self._shown(data_sample))
        lines = []
        if 'gt_label' in data_sample:
            lines.append(self._names(data_sample.gt_label > 0.5))
        if 'score' in data_sample:
            lines.append('predicted: ' + self._names(data_sample.score >= self.threshold))
        size = int(np.clip(max(image.shape[:2]), 256, 512))
        return draw_sheet(
            [[Panel(image, '\n'.join(lines))]], panel_size=size, title=self.sample_name(data_sample)
        )

    def sample_name(self, data_sample: Any) -> str:
        """Returns the name of the image."""
        return str(data_sample.metainfo.get('name', 'image'))

    def _shown(self, sample):
        names = sample.metainfo.get('band_names', ())
        if self.bands is None and set(_TRUE_COLOUR) <= set(names):
            return [names.index(band) for band in _TRUE_COLOUR]
        return self.bands or (0, 1, 2)

    def _names(self, hot):
        classes = (self.dataset_meta or {}).get('classes') or range(len(hot))
        return ', '.join(str(name) for name, on in zip(classes, hot) if on) or 'no label'
