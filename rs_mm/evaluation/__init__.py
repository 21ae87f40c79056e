"""Metrics; importing this package registers all of them."""

from .change_metric import ChangeMetric
from .composed_retrieval_metric import ComposedRetrievalMetric
from .few_shot_metric import FewShotIoU, FewShotMetric
from .knn_metric import KNNMetric, KNNMultiLabel
from .multilabel_retrieval_metric import MultiLabelRetrieval, MultiLabelRetrievalMetric

__all__ = [
    'ChangeMetric',
    'ComposedRetrievalMetric',
    'FewShotMetric',
    'FewShotIoU',
    'KNNMetric',
    'KNNMultiLabel',
    'MultiLabelRetrievalMetric',
    'MultiLabelRetrieval',
]
