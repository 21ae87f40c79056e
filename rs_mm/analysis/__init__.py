"""Looking at data sets, networks and runs."""
