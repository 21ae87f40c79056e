"""Analysis of datasets, networks and runs."""
