"""How training runs: samplers, loops, hooks; importing this package registers all of them."""

from . import counted_poly, hooks, label_samplers, loops, samplers, weight_bias_groups, wrappers  # noqa: F401
