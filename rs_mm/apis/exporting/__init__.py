"""Export of a model as files that run without torch."""
