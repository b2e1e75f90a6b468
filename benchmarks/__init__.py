"""Measurements of the product, to be run by hand: `python -m benchmarks [NAME ...]`."""
