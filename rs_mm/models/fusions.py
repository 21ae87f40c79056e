"""Names under which a config chooses how image and text similarities are fused."""

from rs_mm.registry import TASK_UTILS
from rs_mm.retrieval import fusion

for part in (
    fusion.ImageOnly,
    fusion.TextOnly,
    fusion.AverageFusion,
    fusion.ProductFusion,
    fusion.MinimumFusion,
    fusion.WeightedFusion,
    fusion.WeiCom,
):
    TASK_UTILS.register_module(module=part)
