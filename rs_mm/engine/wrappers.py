"""Distributed data parallel that also runs on CPUs."""

import torch
from mmengine.model import MMDistributedDataParallel

from rs_mm.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class DistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper; on CPUs it is built without device ids, which torch refuses there."""

    def __init__(self, module, device_ids=None, **kwargs):
        if not torch.cuda.is_available():
            device_ids = None
        super().__init__(module, device_ids=device_ids, **kwargs)
