"""Hooks."""

from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'batch_check': ['BatchCheckHook'],
        'checkpoint': ['CheckpointHook'],
        'class_check': ['ClassCheckHook'],
        'composed_visualization': ['ComposedRetrievalVisualizationHook'],
        'data_watch': ['DataWatchHook'],
        'embedding_visualization': ['EmbeddingVisualizationHook'],
        'feature_bank': ['FeatureBankHook', 'KNNReferenceHook'],
        'numeric_guard': ['NumericGuardHook'],
        'pca_identity': ['PCAIdentityHook'],
        'preemption': ['PreemptionHook'],
        'profiler': ['ProfilerHook'],
        'reproducible': ['ReproducibleHook'],
        'resume_check': ['ResumeCheckHook'],
        'retrieval_visualization': ['RetrievalVisualizationHook'],
        'run_check': ['RunCheckHook'],
        'throughput': ['ThroughputHook'],
        'visualization': ['SampleVisualizationHook'],
        'run_hooks': ['RUN_HOOKS'],
    },
)
