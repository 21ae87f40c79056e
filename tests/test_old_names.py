"""Names of version 0.1 that classes have changed are still registered and importable."""

import pytest

import rs_mm.evaluation
import rs_mm.models.composed_retriever
import rs_mm.models.preprocessors
from rs_mm.registry import METRICS, MODELS

RENAMED = [
    (METRICS, rs_mm.evaluation, 'FewShotIoU', 'FewShotMetric'),
    (METRICS, rs_mm.evaluation, 'KNNMultiLabel', 'KNNMetric'),
    (METRICS, rs_mm.evaluation, 'MultiLabelRetrieval', 'MultiLabelRetrievalMetric'),
    (
        MODELS,
        rs_mm.models.preprocessors,
        'DualInputSegDataPreProcessor',
        'ChangeDataPreprocessor',
    ),
    (MODELS, rs_mm.models.preprocessors, 'EmbeddingDataPreProcessor', 'EmbeddingDataPreprocessor'),
    (
        MODELS,
        rs_mm.models.composed_retriever,
        'ComposedDataPreProcessor',
        'ComposedDataPreprocessor',
    ),
]


@pytest.mark.parametrize(('registry', 'module', 'old', 'new'), RENAMED)
def test_old_name(registry, module, old, new):
    assert registry.get(old) is registry.get(new) is getattr(module, old)
    assert getattr(module, new).__name__ == new
