"""Does a checkpoint fit a model? Said before a run, not found out from its figures."""

from __future__ import annotations

import copy
from pathlib import Path

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper

from rs_mm.checkpoint import load_file, read_state_dict
from rs_mm.errors import CheckpointError
from rs_mm.registry import MODELS


def check_checkpoint(model, path, resume=False) -> None:
    """Compares the names and shapes of a checkpoint's weights with a model's.

    Args:
        model (nn.Module | dict): the built model, wrapped or not; or its config, where the runner
            builds it later.
        path (str | Path): the checkpoint; a URL is not looked at, nor a folder to resume from.
        resume (bool): whether the checkpoint must also hold a training's state.

    Raises:
        MissingFileError: if there is no such file.
        CheckpointError: if a weight of the model is missing or has another shape. Weights the model
            has no place for (an auxiliary head, say) are only reported.
    """
    if '://' in str(path) or (resume and Path(path).is_dir()):  # DeepSpeed reads its own shards
        return
    if isinstance(model, dict):
        model = MODELS.build(copy.deepcopy(model))
    own = (model.module if is_model_wrapper(model) else model).state_dict()
    given = read_state_dict(path)
    fitting = [name for name in own if name in given and given[name].shape == own[name].shape]
    missing = [name for name in own if name not in given]
    wrong = [name for name in own if name in given and given[name].shape != own[name].shape]
    if missing or wrong:
        example = f'`{missing[0]}` is missing' if missing else (
            f'`{wrong[0]}` is {tuple(given[wrong[0]].shape)} there and '
            f'{tuple(own[wrong[0]].shape)} here')
        raise CheckpointError(
            f'{path} is of another model: {len(fitting)} of its {len(given)} weights fit this '
            f"config's {len(own)} ({len(missing)} missing, {len(wrong)} of another shape; e.g. "
            f'{example}). Is it the right config, or does the file need a converter from '
            'tools/model_converters?')
    if len(given) > len(own):
        print_log(f'{path}: {len(given) - len(own)} weights have no place in this model and are '
                  'not used', 'current')
    if resume and not {'optimizer', 'meta', 'message_hub'} <= set(load_file(path)):
        raise CheckpointError(f'{path} holds weights but no state of a training; start from it '
                              f'with `--cfg-options load_from={path}` instead of --resume.')
