"""A check that a checkpoint belongs to the training that resumes from it."""

from __future__ import annotations

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs_mm.errors import CheckpointError
from rs_mm.registry import HOOKS

# entries of a parameter group that are not settings, follow the schedule, or depend on the machine
_NO_SETTINGS = {'params', 'lr', 'fused', 'foreach', 'capturable', 'differentiable'}
_PROGRESS = {'base_values', 'last_step', 'verbose', '_global_step', '_last_value'}


@HOOKS.register_module()
class ResumeCheckHook(Hook):
    """Refuses to resume with another kind of optimizer or schedule, and reports other differences.

    The settings of optimizer and schedules come from the checkpoint; the log names settings that
    differ in the config.

    Checkpoints store the number of processes and their batch size. A run may resume with another
    number of processes. If the global batch then changes, the log says so, because the learning
    rate was chosen for the other batch.

    ``tools/train.py`` adds this hook to every run.

    Raises:
        CheckpointError: before anything is trained.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta'].update(_batch(runner))
        if hasattr(runner.optim_wrapper, 'optimizer'):
            checkpoint['meta']['optimizer'] = type(runner.optim_wrapper.optimizer).__name__

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume or 'optimizer' not in checkpoint:
            return
        wrapper = runner.optim_wrapper
        if hasattr(wrapper, 'optimizer') and 'param_groups' in checkpoint['optimizer']:
            self._compare_optimizers(runner, checkpoint)
        there, here = checkpoint.get('param_schedulers') or [], runner.param_schedulers or []
        _must_agree('learning-rate schedule', len(there), len(here))
        if isinstance(there, list):
            _compare_schedules(runner, there, [scheduler.state_dict() for scheduler in here])
        self._compare_batches(runner, checkpoint['meta'])
        done, limit = checkpoint['meta']['iter'], runner.train_loop.max_iters
        if done >= limit:
            runner.logger.warning(
                f'the checkpoint is of iteration {done} and the config trains '
                f'{limit}: nothing is left to train'
            )

    def _compare_optimizers(self, runner, checkpoint):
        optimizer = runner.optim_wrapper.optimizer
        name = type(optimizer).__name__
        _must_agree('optimizer', checkpoint['meta'].get('optimizer', name), name)
        there = checkpoint['optimizer']['param_groups']
        here = optimizer.state_dict()['param_groups']
        _must_agree('optimizer', _layout(there), _layout(here))
        _say_what_stays(runner, there, here, _NO_SETTINGS)

    def _compare_batches(self, runner, meta):
        now = _batch(runner)
        if all(meta.get(key, value) == value for key, value in now.items()):
            return
        before, after = (run['world_size'] * run['batch_size'] for run in (meta, now))
        text = (
            f'resumed on {now["world_size"]} process(es) of batch {now["batch_size"]}; the '
            f'checkpoint is of {meta["world_size"]} of batch {meta["batch_size"]}. '
        )
        text += (
            'The global batch is the same, and so is the order of the samples.'
            if before == after
            else f'The global batch changes from {before} to {after}: scale the learning rate with '
            'it, or change `train_dataloader.batch_size`.'
        )
        runner.logger.warning(text)


def _batch(runner):
    return dict(
        world_size=get_world_size(), batch_size=runner.train_dataloader.batch_sampler.batch_size
    )


def _compare_schedules(runner, there, here):
    for before, after in zip(there, here):
        _must_agree('learning-rate schedule', sorted(before), sorted(after))
        if 'best' not in before:  # state of ReduceOnPlateauLR that looks like settings
            _say_what_stays(runner, [before], [after], _PROGRESS)


def _say_what_stays(runner, there, here, progress):
    changed = {
        f'{key} {before[key]} (config: {after[key]})': None
        for before, after in zip(there, here)
        for key in after
        if key not in progress and before[key] != after[key]
    }
    if changed:
        runner.logger.warning(
            f'--resume keeps the settings of the checkpoint: {", ".join(changed)}. To change them, '
            'start a new training from its weights: `--cfg-options load_from=CHECKPOINT`.'
        )


def _layout(groups):
    """Describes an optimizer by the settings and sizes of its parameter groups."""
    settings = sorted(set(groups[0]) - {'params', 'initial_lr'})
    return f'{[len(group["params"]) for group in groups]} parameters with {", ".join(settings)}'


def _must_agree(what, there, here):
    if there != here:
        raise CheckpointError(
            f'--resume: the {what} of the checkpoint ({there}) is not that of this config '
            f'({here}). Resume with the config of that training, or start a new one from its '
            'weights with `--cfg-options load_from=CHECKPOINT`.'
        )
