"""Does a checkpoint belong to the training that wants to resume from it?"""

from mmengine.dist import get_world_size
from mmengine.hooks import Hook

from rs_mm.errors import CheckpointError
from rs_mm.registry import HOOKS


@HOOKS.register_module()
class ResumeCheckHook(Hook):
    """Refuses to resume from a training with another optimizer or other schedules, and says what
    else is different.

    Checkpoints note the number of processes and the batch of each. A run may resume on another
    number of processes; if the global batch changes with it, the log says so, because the learning
    rate was chosen for the other one.

    ``tools/train.py`` adds this hook to every run.

    Raises:
        CheckpointError: before anything is trained.
    """

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['meta'].update(_batch(runner))

    def after_load_checkpoint(self, runner, checkpoint):
        if not runner._resume or 'optimizer' not in checkpoint:
            return
        wrapper = runner.optim_wrapper
        if hasattr(wrapper, 'optimizer'):
            there, here = checkpoint['optimizer'], wrapper.optimizer.state_dict()
            if 'param_groups' in there:
                _must_agree('optimizer', _layout(there['param_groups']),
                            _layout(here['param_groups']))
        _must_agree('learning-rate schedule', len(checkpoint.get('param_schedulers') or []),
                    len(runner.param_schedulers or []))
        self._compare_batches(runner, checkpoint['meta'])
        done, limit = checkpoint['meta']['iter'], runner.train_loop.max_iters
        if done >= limit:
            runner.logger.warning(f'the checkpoint is of iteration {done} and the config trains '
                                  f'{limit}: nothing is left to train')

    def _compare_batches(self, runner, meta):
        now = _batch(runner)
        if all(meta.get(key, value) == value for key, value in now.items()):
            return
        before, after = (run['world_size'] * run['batch_size'] for run in (meta, now))
        text = (f'resumed on {now["world_size"]} process(es) of batch {now["batch_size"]}; the '
                f'checkpoint is of {meta["world_size"]} of batch {meta["batch_size"]}. ')
        text += ('The global batch is the same, and so is the order of the samples.'
                 if before == after else
                 f'The global batch changes from {before} to {after}: scale the learning rate with '
                 'it, or change `train_dataloader.batch_size`.')
        runner.logger.warning(text)


def _batch(runner):
    return dict(world_size=get_world_size(),
                batch_size=runner.train_dataloader.batch_sampler.batch_size)


def _layout(groups):
    """What tells optimizers apart: the settings and sizes of their parameter groups."""
    settings = sorted(set(groups[0]) - {'params', 'initial_lr'})
    return f'{[len(group["params"]) for group in groups]} parameters with {", ".join(settings)}'


def _must_agree(what, there, here):
    if there != here:
        raise CheckpointError(
            f'--resume: the {what} of the checkpoint ({there}) is not that of this config '
            f'({here}). Resume with the config of that training, or start a new one from its '
            'weights with `--cfg-options load_from=CHECKPOINT`.')
