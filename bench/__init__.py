"""Benchmarks: what a transfer costs, in time, CPU, memory and requests to S3.

Run from the repository's root: ``python -m bench ssh`` or ``python -m bench gateway``. It only
measures: nothing here asserts, and nothing is installed with the gateway.
"""
