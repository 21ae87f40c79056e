"""What a few-shot segmenter finds in one image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rs_mm.visualization.few_shot_visualizer import FOREGROUND, overlay
from rs_mm.visualization.sheet import Panel, draw_sheet, save_sheet


@dataclass
class FewShotMask:
    """Where an image shows the class of the supports.

    Attributes:
        mask: (H, W) uint8, 1 for the class, at the size of the image.
        votes: (H, W) float32, how many of the K supports voted for the class. Where tiles of a
            scene overlap, it is their weighted mean.
        probability: (H, W) float32 in [0, 1], mean over the supports of the softmax of their
            logits.
        image: (H, W, 3) uint8 RGB, what the model saw.
        name: of the image.
        class_name: of what was searched.
        supports: pairs of an image (h, w, 3) uint8 and its mask (h, w) uint8, for the picture.
    """

    mask: np.ndarray
    votes: np.ndarray
    probability: np.ndarray
    image: np.ndarray
    name: str = 'image'
    class_name: str = 'object'
    supports: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    @property
    def score(self) -> float:
        """Mean probability where the class was found; 0 where it was not."""
        found = self.mask > 0
        return float(self.probability[found].mean()) if found.any() else 0.0

    def draw(self) -> np.ndarray:
        """A sheet of supports, image and prediction: (H, W, 3) uint8 RGB."""
        examples = [
            Panel(overlay(image, mask, FOREGROUND), f'support {i}')
            for i, (image, mask) in enumerate(self.supports, 1)
        ]
        share = 100 * float((self.mask > 0).mean())
        grey = np.rint(255 * self.probability).astype(np.uint8)
        bottom = [
            Panel(self.image, self.name),
            Panel(overlay(self.image, self.mask, FOREGROUND), f'found: {share:.1f} % of the image'),
            Panel(np.repeat(grey[..., None], 3, 2), 'probability, 0 black to 1 white'),
        ]
        shots = len(self.supports)
        title = f'{self.class_name}, {shots} shot{"s" if shots > 1 else ""}'
        rows = [examples[i : i + 5] for i in range(0, shots, 5)]
        return draw_sheet([*rows, bottom], title=title, legend={self.class_name: FOREGROUND})

    def save(self, folder: str | Path) -> list[Path]:
        """Writes ``NAME_mask.png`` (255 for the class), ``NAME_probability.png`` and a picture.

        The probability is 0 to 255 there.

        Returns:
            The files.
        """
        paths = [Path(folder) / f'{self.name}_{what}.png' for what in _PICTURES]
        save_sheet(paths[0], (self.mask > 0).astype(np.uint8) * 255)
        save_sheet(paths[1], np.rint(255 * self.probability).astype(np.uint8))
        save_sheet(paths[2], self.draw())
        return paths


_PICTURES = ('mask', 'probability', 'picture')
