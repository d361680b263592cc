"""Benchmarks: figures that README and docs quote, measured on the code as it is."""
