"""Metrics; importing this package registers all of them."""

from .change_metric import ChangeMetric
from .composed_retrieval_metric import ComposedRetrievalMetric
from .few_shot_metric import FewShotIoU
from .knn_metric import KNNMultiLabel
from .multilabel_retrieval_metric import MultiLabelRetrieval

__all__ = [
    'ChangeMetric',
    'ComposedRetrievalMetric',
    'FewShotIoU',
    'KNNMultiLabel',
    'MultiLabelRetrieval',
]
