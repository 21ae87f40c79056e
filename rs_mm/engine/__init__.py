"""How training runs: samplers, loops, hooks; importing this package registers all of them."""

from . import hooks, loops, samplers, wrappers  # noqa: F401
