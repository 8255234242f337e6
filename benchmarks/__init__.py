"""Runnable comparisons. Each verifies equal outputs first and writes JSON to `results/`."""
