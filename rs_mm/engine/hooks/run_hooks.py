"""The hooks that every run has."""

from .batch_check import BatchCheckHook
from .data_watch import DataWatchHook
from .pca_identity import PCAIdentityHook
from .preemption import PreemptionHook
from .reproducible import ReproducibleHook
from .resume_check import ResumeCheckHook
from .run_check import RunCheckHook

#: What every run has beside the hooks of its config; the runner of rs_mm.launch adds them.
RUN_HOOKS = (
    ReproducibleHook,
    ResumeCheckHook,
    BatchCheckHook,
    DataWatchHook,
    PCAIdentityHook,
    PreemptionHook,
    RunCheckHook,
)
