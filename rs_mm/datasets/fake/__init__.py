"""Generators of small fake datasets in the real layouts, for demos and tests."""
