"""From a config and options to an open run, and from errors to one sentence."""
