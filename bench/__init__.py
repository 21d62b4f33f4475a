"""Benchmarks: ratios from one run, no part of the tests."""
