"""Hooks."""

from .batch_check import BatchCheckHook
from .checkpoint import CheckpointHook
from .class_check import ClassCheckHook
from .composed_visualization import ComposedRetrievalVisualizationHook
from .data_watch import DataWatchHook
from .embedding_visualization import EmbeddingVisualizationHook
from .feature_bank import FeatureBankHook, KNNReferenceHook
from .numeric_guard import NumericGuardHook
from .pca_identity import PCAIdentityHook
from .preemption import PreemptionHook
from .profiler import ProfilerHook
from .reproducible import ReproducibleHook
from .resume_check import ResumeCheckHook
from .retrieval_visualization import RetrievalVisualizationHook
from .run_check import RunCheckHook
from .throughput import ThroughputHook
from .visualization import SampleVisualizationHook

#: Hooks of every run in addition to its config; the runner of rs_mm.launch adds them.
RUN_HOOKS = (
    ReproducibleHook,
    ResumeCheckHook,
    BatchCheckHook,
    DataWatchHook,
    PCAIdentityHook,
    PreemptionHook,
    RunCheckHook,
)

__all__ = [
    'RUN_HOOKS',
    'BatchCheckHook',
    'CheckpointHook',
    'ClassCheckHook',
    'ComposedRetrievalVisualizationHook',
    'DataWatchHook',
    'EmbeddingVisualizationHook',
    'FeatureBankHook',
    'KNNReferenceHook',
    'NumericGuardHook',
    'PCAIdentityHook',
    'PreemptionHook',
    'ProfilerHook',
    'ReproducibleHook',
    'ResumeCheckHook',
    'RetrievalVisualizationHook',
    'RunCheckHook',
    'SampleVisualizationHook',
    'ThroughputHook',
]
