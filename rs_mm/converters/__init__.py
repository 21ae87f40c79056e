"""Checkpoints and configs of the original implementations, in the names of rs_mm."""
