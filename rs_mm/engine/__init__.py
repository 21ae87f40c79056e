"""How training runs: samplers, loops, hooks; importing this package registers all of them."""

from . import hooks, label_samplers, loops, samplers, wrappers  # noqa: F401
