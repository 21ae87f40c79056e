"""Python entry points for people who do not write configs."""
