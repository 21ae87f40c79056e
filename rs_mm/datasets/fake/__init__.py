"""Generators of small fake data sets in the true layouts, for demos and tests."""
