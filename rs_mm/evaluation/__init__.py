"""Metrics."""

from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'change_metric': ['ChangeMetric'],
        'composed_retrieval_metric': ['ComposedRetrievalMetric'],
        'few_shot_metric': ['FewShotIoU', 'FewShotMetric'],
        'knn_metric': ['KNNMetric', 'KNNMultiLabel'],
        'multilabel_retrieval_metric': ['MultiLabelRetrieval', 'MultiLabelRetrievalMetric'],
    },
)
