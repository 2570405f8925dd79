"""Benchmarks against peers and limits: `python -m bench`. They report; they never fail a build."""
