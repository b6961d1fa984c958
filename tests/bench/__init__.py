"""Benchmarks: `make bench`, or `python -m tests.bench [NAME]…`. What they measure and found: docs/performance.md."""
