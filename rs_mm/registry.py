"""Every registry of rs_mm: children of mmengine's, scope ``rs_mm``.

A part is registered with one decorator and named in a config by its class name::

    @MODELS.register_module()
    class MyNeck(BaseModule): ...

    model = dict(neck=dict(type='MyNeck'))

A part of another package is named with its scope: ``type='mmseg.SwinTransformer'``.
"""

from typing import Any

from rs_mm import compat, lazy_names

compat.check_installed()

from mmengine import registry as _mmengine  # noqa: E402
from mmengine.registry import DefaultScope, Registry  # noqa: E402

from rs_mm.build_errors import explain_build_error  # noqa: E402
from rs_mm.errors import ArgumentError, UnknownTypeError  # noqa: E402


class ScopedRegistry(Registry):
    """mmengine's registry, which builds in the scope ``rs_mm`` if no run has set another scope.

    A whole model builds its parts with registries of other packages, which search the default
    scope. A run sets this scope; a notebook does not. Only the modules of requested parts are
    imported; the other modules are imported if a name is not found.
    """

    def get(self, key: str) -> Any:
        """Returns the class or function of a registered name, see mmengine's ``Registry.get``."""
        if isinstance(key, str):
            scope, name = self.split_scope_key(key)
            found = self._find(name, scope is None) if scope in (None, self.scope) else None
            if scope not in (None, self.scope):  # the parts of others need none of ours
                found = self._get_root_registry().get(key)
            if found is not None:
                return found
        return super().get(key)

    def import_from_location(self) -> None:
        """Imports every module that registers a part here."""
        if not self._imported:
            lazy_names.import_all(self._locations)
        super().import_from_location()

    def _find(self, name, in_parents):
        if name not in self._module_dict and not self._imported:
            self._import_home(name)
        registry = self
        while registry is not None and name not in registry.module_dict:
            registry = registry.parent if in_parents else None
        return None if registry is None else registry.module_dict[name]

    def _import_home(self, name):
        lazy_names.import_homes(self._locations, name)

    def build(self, cfg: dict, *args: Any, **kwargs: Any) -> Any:
        """Builds a part from its config, see mmengine's ``Registry.build``.

        Raises:
            ArgumentError: outside a run, the part does not take a key, or a key is missing.
            UnknownTypeError: outside a run, the ``type`` is not registered.
        """
        scope = DefaultScope.get_current_instance()
        if scope is not None and scope.scope_name != 'mmengine':
            return super().build(cfg, *args, **kwargs)
        with DefaultScope.overwrite_default_scope('rs_mm'):
            try:
                return super().build(cfg, *args, **kwargs)
            except (TypeError, KeyError) as error:
                sentence = explain_build_error(error)
                if sentence is None:
                    raise
                kind = ArgumentError if isinstance(error, TypeError) else UnknownTypeError
                raise kind(sentence) from error


def _child(parent, *locations, kind=ScopedRegistry):
    return kind(parent.name, parent=parent, scope='rs_mm', locations=list(locations))


class _TaskUtils(ScopedRegistry):
    """A registry that also holds the classes of ``rs_mm.retrieval`` marked with ``@part``."""

    def import_from_location(self) -> None:
        """Imports every module that registers or marks a part."""
        super().import_from_location()
        self._take_parts()

    def _import_home(self, name):
        super()._import_home(name)
        self._take_parts()

    def _take_parts(self):
        from rs_mm.retrieval.parts import PARTS

        for name, part in PARTS.items():
            if name not in self._module_dict:
                self.register_module(name=name, module=part)


MODELS = _child(_mmengine.MODELS, 'rs_mm.models')
MODEL_WRAPPERS = _child(_mmengine.MODEL_WRAPPERS, 'rs_mm.engine')
DATASETS = _child(_mmengine.DATASETS, 'rs_mm.datasets')
TRANSFORMS = _child(_mmengine.TRANSFORMS, 'rs_mm.datasets')
DATA_SAMPLERS = _child(_mmengine.DATA_SAMPLERS, 'rs_mm.engine')
METRICS = _child(_mmengine.METRICS, 'rs_mm.evaluation')
EVALUATOR = _child(_mmengine.EVALUATOR, 'rs_mm.evaluation')
VISUALIZERS = _child(_mmengine.VISUALIZERS, 'rs_mm.visualization')
VISBACKENDS = _child(_mmengine.VISBACKENDS, 'rs_mm.visualization')
HOOKS = _child(_mmengine.HOOKS, 'rs_mm.engine')
LOOPS = _child(_mmengine.LOOPS, 'rs_mm.engine')
OPTIMIZERS = _child(_mmengine.OPTIMIZERS, 'rs_mm.engine')
OPTIM_WRAPPERS = _child(_mmengine.OPTIM_WRAPPERS, 'rs_mm.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(_mmengine.OPTIM_WRAPPER_CONSTRUCTORS, 'rs_mm.engine')
PARAM_SCHEDULERS = _child(_mmengine.PARAM_SCHEDULERS, 'rs_mm.engine')
LOG_PROCESSORS = _child(_mmengine.LOG_PROCESSORS, 'rs_mm.engine')
RUNNERS = _child(_mmengine.RUNNERS, 'rs_mm.engine')
TASK_UTILS = _child(
    _mmengine.TASK_UTILS, 'rs_mm.models', 'rs_mm.datasets', 'rs_mm.retrieval', kind=_TaskUtils
)
_ASKED = ('change.detector', 'few_shot', 'labels', 'search')
INFERENCERS = _child(_mmengine.INFERENCERS, *(f'rs_mm.apis.{name}' for name in _ASKED))
# empty; without a child of the scope mmengine warns at each look-up
WEIGHT_INITIALIZERS = _child(_mmengine.WEIGHT_INITIALIZERS)
RUNNER_CONSTRUCTORS = _child(_mmengine.RUNNER_CONSTRUCTORS)
STRATEGIES = _child(_mmengine.STRATEGIES, 'rs_mm.engine')
FUNCTIONS = _child(_mmengine.FUNCTIONS, 'rs_mm.datasets')
