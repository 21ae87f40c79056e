"""Checkpoints that survive a kill or a full disk."""

import os
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook as _CheckpointHook

from rs_mm.registry import HOOKS


class AtomicLocalBackend(LocalBackend):
    """Writes to a temporary name and renames: a file is there whole or not at all."""

    def put(self, obj, filepath):
        """Writes bytes; see mmengine's ``LocalBackend.put``."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f'.{path.name}.{os.getpid()}.unfinished')
        try:
            with open(unfinished, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


register_backend('local', AtomicLocalBackend, prefixes='', force=True)


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's hook; an outdated checkpoint is removed after the new one is written, not before.
    """

    def _save_checkpoint_with_step(self, runner, step, meta):
        limit = self.max_keep_ckpts
        if limit <= 0:  # every checkpoint is kept
            return super()._save_checkpoint_with_step(runner, step, meta)
        kept, before = self.keep_ckpt_ids, list(self.keep_ckpt_ids)
        if step not in kept:
            kept.append(step)  # at its limit the deque drops the oldest
            runner.message_hub.update_info('keep_ckpt_ids', list(kept))
        self.max_keep_ckpts = -1  # mmengine's own removal comes too early
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        except BaseException:
            kept.clear()
            kept.extend(before)
            raise
        finally:
            self.max_keep_ckpts = limit
        for outdated in set(before) - set(kept):
            self._remove(outdated)

    def _remove(self, step):
        if not is_main_process():
            return
        path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # DeepSpeed writes folders
            self.file_backend.rmtree(path)
