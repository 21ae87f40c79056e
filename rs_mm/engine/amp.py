"""Mixed precision on GPUs and on CPUs."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper as _AmpOptimWrapper
from mmengine.optim import OptimWrapper

from rs_mm.errors import ConfigError
from rs_mm.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(_AmpOptimWrapper):
    """mmengine's mixed precision, which also trains on a CPU and scales the loss for float16 only.

    bfloat16 has the range of float32, so it needs no scaler; a step then does not rescale gradients
    or check them for infinities on the host.

    Args:
        loss_scale, dtype, use_fsdp: see mmengine's ``AmpOptimWrapper``. ``dtype`` is ``float16`` by
            default; on a CPU only ``bfloat16`` is possible.
        **kwargs: see mmengine's ``OptimWrapper``.
    """

    def __init__(
        self,
        loss_scale: str = 'dynamic',
        dtype: str | None = None,
        use_fsdp: bool = False,
        **kwargs: Any,
    ) -> None:
        if get_device() == 'cpu':
            if str(dtype or 'bfloat16').removeprefix('torch.') != 'bfloat16':
                raise ConfigError(
                    f'optim_wrapper.dtype is {dtype}: on a CPU mixed precision is bfloat16.'
                )
            OptimWrapper.__init__(self, **kwargs)
            self.cast_dtype, self._scale_update_param = torch.bfloat16, None
        else:
            super().__init__(loss_scale, dtype, use_fsdp, **kwargs)
        if self.cast_dtype == torch.bfloat16:
            self.loss_scaler = torch.amp.GradScaler(enabled=False)

    def load_state_dict(self, state_dict: dict) -> None:
        """Loads the state of a run in either precision; a new scaler starts with its initial
        state."""
        state_dict = dict(state_dict)
        if not state_dict.get('loss_scaler'):
            state_dict.pop('loss_scaler', None)
        super().load_state_dict(state_dict)
