"""Benchmarks: each prints ratios of things measured in one run, on whatever machine it runs."""
