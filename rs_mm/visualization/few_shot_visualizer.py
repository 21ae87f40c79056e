"""One picture per episode: supports with masks, query, ground truth, prediction."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from mmengine.visualization import Visualizer
from torch import Tensor

from rs_mm.evaluation.few_shot_metric import episode_areas
from rs_mm.registry import VISUALIZERS
from rs_mm.structures import EpisodeDataSample

from .sheet import Panel, draw_sheet

FOREGROUND, IGNORED = (255, 60, 60), (130, 130, 130)
HIT, MISSED, FALSE = (60, 200, 80), (70, 110, 255), (255, 170, 0)


def overlay(
    image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], strength: float = 0.35
) -> np.ndarray:
    """Tints an image where the mask is set and outlines the mask.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W), bool or 0/1.
        colour: RGB.
        strength: share of the colour inside, in [0, 1].

    Returns:
        (H, W, 3) uint8 RGB.
    """
    mask = np.asarray(mask, bool)
    inner = mask.copy()
    for axis in (0, 1):
        for shift in (1, -1):
            inner &= np.roll(mask, shift, axis)
    out = image.astype(np.float32)
    out[mask] += strength * (np.array(colour, np.float32) - out[mask])
    out[mask & ~inner] = colour
    return out.round().astype(np.uint8)


@VISUALIZERS.register_module()
class FewShotVisualizer(Visualizer):
    """A visualizer that draws episodes for ``--show-dir``."""

    def draw_sample(self, data_sample: EpisodeDataSample, inputs: dict[str, Tensor]) -> np.ndarray:
        """Draws one episode.

        Args:
            data_sample: with ``support_mask`` and ``pred_mask``; with ``gt_mask`` also ground truth
                and the IoU are drawn.
            inputs: ``query`` (3, H, W) and ``support`` (K, 3, H, W), uint8
                RGB.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        sample = data_sample
        names = sample.get('support_names', [''] * len(sample.support_mask))
        supports = [
            Panel(
                overlay(_picture(image), mask.cpu().numpy(), FOREGROUND), f'support {i + 1}: {name}'
            )
            for i, (image, mask, name) in enumerate(
                zip(inputs['support'], sample.support_mask, names)
            )
        ]
        query = _picture(inputs['query'])
        pred = sample.pred_mask.cpu().numpy().astype(bool)
        bottom = [Panel(query, f'query: {sample.get("query_name", "")}')]
        legend = {'class': FOREGROUND}
        if 'gt_mask' in sample:
            target = sample.gt_mask.cpu().numpy().astype(bool)
            ignore = (
                sample.ignore.cpu().numpy() if 'ignore' in sample else np.zeros_like(target)
            ).astype(bool)
            truth = overlay(overlay(query, ignore, IGNORED, 0.7), target, FOREGROUND)
            bottom.append(Panel(truth, 'ground truth'))
            shown = overlay(query, pred & target, HIT)
            shown = overlay(shown, ~pred & target, MISSED)
            shown = overlay(shown, pred & ~target & ~ignore, FALSE)
            bottom.append(Panel(shown, f'prediction: IoU {100 * _iou(sample):.1f} %'))
            legend.update({'found': HIT, 'missed': MISSED, 'false alarm': FALSE})
            if ignore.any():
                legend['ignored'] = IGNORED
        else:
            bottom.append(
                Panel(
                    overlay(query, pred, FOREGROUND),
                    f'prediction: {100 * pred.mean():.1f} % of the image',
                )
            )
        shots = f'{len(supports)} shot{"s" if len(supports) > 1 else ""}'
        return draw_sheet(
            [supports, bottom], legend=legend, title=f'{sample.get("class_name", "class")}, {shots}'
        )

    def sample_name(self, data_sample: Any) -> str:
        """Returns the file name of an episode: position in the dataset, query and class."""
        parts = (
            f'{data_sample.get("sample_idx", 0):05d}',
            data_sample.get('query_name', 'query'),
            data_sample.get('class_name', ''),
        )
        return re.sub(r'[^\w.-]+', '_', '_'.join(part for part in parts if part))

    def raw_mask(self, data_sample: Any) -> np.ndarray:
        """Returns the prediction as (H, W) uint8, 255 for the class."""
        return (data_sample.pred_mask.cpu().numpy() * 255).astype(np.uint8)


def _iou(sample):
    ignore = sample.ignore[None].cpu() if 'ignore' in sample else None
    intersection, union = episode_areas(
        sample.pred_mask[None].cpu(), sample.gt_mask[None].cpu(), ignore
    )
    return (intersection[1, 0] / union[1, 0].clamp(min=1)).item()


def _picture(image):
    return np.ascontiguousarray(torch.as_tensor(image).permute(1, 2, 0).cpu().numpy())
