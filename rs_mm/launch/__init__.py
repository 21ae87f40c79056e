"""Opening a run from a config and options, and printing errors as one sentence."""
