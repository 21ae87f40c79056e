"""Old module names of version 0.1: an import of an old name returns the new module.

``rs_mm.apis.train``, ``test``, ``extract`` and ``evaluate_features`` are not listed, because
:mod:`rs_mm.apis` now exports functions of these names. Version 0.4 will remove the old names;
CHANGELOG.md lists the changes.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

MOVED = {
    'rs_mm.apis.benchmark': 'rs_mm.analysis.step_benchmark',
    'rs_mm.apis.benchmark_data': 'rs_mm.analysis.data_benchmark',
    'rs_mm.apis.browse': 'rs_mm.analysis.browse',
    'rs_mm.apis.build_errors': 'rs_mm.build_errors',
    'rs_mm.apis.cli': 'rs_mm.launch.command_line',
    'rs_mm.apis.complexity': 'rs_mm.analysis.complexity',
    'rs_mm.apis.config': 'rs_mm.launch.config',
    'rs_mm.apis.config_variables': 'rs_mm.launch.config_variables',
    'rs_mm.apis.dataset_check': 'rs_mm.analysis.dataset_check',
    'rs_mm.apis.device': 'rs_mm.launch.device',
    'rs_mm.apis.dsqnet': 'rs_mm.converters.dsqnet',
    'rs_mm.apis.grn_original': 'rs_mm.converters.grn',
    'rs_mm.apis.matching': 'rs_mm.launch.checkpoint_fit',
    'rs_mm.apis.oml_original': 'rs_mm.converters.oml',
    'rs_mm.apis.oml_yaml': 'rs_mm.converters.oml_config',
    'rs_mm.apis.pca': 'rs_mm.apis.features.pca',
    'rs_mm.apis.predict_files': 'rs_mm.apis.change.files',
    'rs_mm.launch.build_errors': 'rs_mm.build_errors',
    'rs_mm.datasets.describe': 'rs_mm.datasets.pipeline_identity',
    'rs_mm.datasets.fake.change': 'rs_mm.datasets.fake.change_pairs',
    'rs_mm.datasets.fake.few_shot': 'rs_mm.datasets.fake.few_shot_scenes',
    'rs_mm.datasets.fake.multilabel': 'rs_mm.datasets.fake.multilabel_images',
    'rs_mm.datasets.few_shot': 'rs_mm.datasets.few_shot_dataset',
    'rs_mm.datasets.multilabel': 'rs_mm.datasets.multilabel_dataset',
    'rs_mm.datasets.parts': 'rs_mm.datasets.wrapped_datasets',
    'rs_mm.datasets.raster': 'rs_mm.rasters.values',
    'rs_mm.engine.counted_poly': 'rs_mm.engine.counted_poly_lr',
    'rs_mm.engine.wrappers': 'rs_mm.engine.distributed_wrapper',
    'rs_mm.evaluation.composed': 'rs_mm.evaluation.composed_retrieval_metric',
    'rs_mm.evaluation.few_shot_iou': 'rs_mm.evaluation.few_shot_metric',
    'rs_mm.evaluation.multilabel_retrieval': 'rs_mm.evaluation.multilabel_retrieval_metric',
    'rs_mm.models.data_preprocessors': 'rs_mm.models.preprocessors.embedding_preprocessor',
    'rs_mm.models.dual_input_preprocessor': 'rs_mm.models.preprocessors.change_preprocessor',
    'rs_mm.models.few_shot_preprocessor': 'rs_mm.models.preprocessors.few_shot_preprocessor',
    'rs_mm.models.heads.output': 'rs_mm.models.heads.head_output',
    'rs_mm.models.segmentors.few_shot': 'rs_mm.models.segmentors.few_shot_segmentor',
    'rs_mm.models.utils.identity': 'rs_mm.models.utils.model_identity',
    'rs_mm.models.utils.official_dsqnet': 'rs_mm.converters.dsqnet_names',
    'rs_mm.models.utils.stages': 'rs_mm.models.utils.stage_checks',
    'rs_mm.visualization.change': 'rs_mm.visualization.change_visualizer',
    'rs_mm.visualization.composed': 'rs_mm.visualization.composed_sheet',
    'rs_mm.visualization.few_shot': 'rs_mm.visualization.few_shot_visualizer',
    'rs_mm.visualization.multilabel': 'rs_mm.visualization.multilabel_visualizer',
    'rs_mm.visualization.retrieval': 'rs_mm.visualization.retrieval_sheet',
}


class MovedModuleFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module by its old name and warns once."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns a spec for the names in :data:`MOVED`, None for all other names."""
        if fullname not in MOVED:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Replaces the old name by the new module."""
        old = module.__name__
        warnings.warn(
            f'{old} has moved to {MOVED[old]}; the old name goes with version 0.4.',
            DeprecationWarning,
            stacklevel=2,
        )
        # the import machinery returns the entry of sys.modules after this call
        sys.modules[old] = importlib.import_module(MOVED[old])


def install() -> None:
    """Adds the finder after Python's own finders; a second call has no effect."""
    if not any(isinstance(finder, MovedModuleFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedModuleFinder())
