"""Labels of an archive by class names, without training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from rs_mm.apis.labels.tables import write_rows
from rs_mm.errors import ConfigError
from rs_mm.retrieval.text_terms import TEMPLATES, class_features

from .engine import ImageSearch


def zero_shot_labels(
    engine: ImageSearch,
    classes: Sequence[str],
    out: str | Path,
    templates: Sequence[str] = TEMPLATES,
    threshold: float | None = None,
) -> int:
    """Writes a row for each image of an archive, as ``tools/predict_labels.py`` does.

    The probability of a class is the softmax over the classes of the similarity to its name in
    every template, times the learnt scale of the tower (Radford et al., ICML 2021, 3.1.2).
    The vectors are those of the index: no image is read again.

    Args:
        engine: the archive, with a model that takes texts.
        classes: names, two or more.
        out: CSV file with path, window, labels and the probability of each class.
        templates: prompts with ``{}`` in place of the name.
        threshold: classes above it are labels. Default: the most probable class is.

    Returns:
        The number of rows.

    Raises:
        ConfigError: there is only one class, a class occurs twice, the threshold is outside 0 to 1,
            or the model takes no text.
    """
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ConfigError('give two class names or more, each once.')
    if threshold is not None and not 0 < threshold < 1:
        raise ConfigError(f'the threshold is {threshold}; it lies between 0 and 1.')
    encode_text: Any = getattr(engine.model, 'encode_text', None)
    if encode_text is None:
        raise ConfigError(
            f'{type(engine.model).__name__} takes no text; take a config of configs/weicom.'
        )
    names = class_features(classes, encode_text, templates).cpu()
    scale = float(engine.model.clip.logit_scale.detach().exp())
    count = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal count
        for keys, vectors in engine.index.scan():
            probability = (scale * torch.tensor(vectors) @ names.T).softmax(1)
            for record, values in zip(engine.index.records(keys), probability.tolist()):
                best = max(values)
                found = [
                    name
                    for name, value in zip(classes, values)
                    if (value == best if threshold is None else value > threshold)
                ]
                x, y, width, height = record.window or (0, 0, 0, 0)
                count += 1
                yield dict(
                    path=record.path,
                    window=f'{y} {x} {height} {width}' if record.window else '',
                    labels=';'.join(found),
                    reason='',
                    **{name: f'{value:.6f}' for name, value in zip(classes, values)},
                )

    write_rows(out, rows(), classes)
    return count
