"""Saved results of the self-test: read back, shown as a page, compared with each other."""
