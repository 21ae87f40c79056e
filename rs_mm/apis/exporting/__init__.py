"""A network and what surrounds it as files that run without torch."""
