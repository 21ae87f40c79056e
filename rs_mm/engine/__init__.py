"""How training runs: samplers, loops, hooks; importing this package registers all of them."""

from . import (  # noqa: F401
    amp,
    composed_retrieval_loop,
    counted_poly_lr,
    distributed_wrapper,
    feature_extraction,
    hooks,
    label_samplers,
    layer_decay,
    loops,
    samplers,
    strategies,
    weight_bias_groups,
)
