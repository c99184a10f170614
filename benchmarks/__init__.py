"""Benchmarks for ``pytest benchmarks/ --benchmark-only``: the cases of ``fastconv bench``, and all around a kernel."""
