"""Checks of this data plane alone, for `rbops verify`."""
