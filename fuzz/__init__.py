"""Arbitrary bytes for each layer, and what must hold whatever they are.

`layers` is shared by the short tests in ``tests/fuzz`` (hypothesis) and by the long
job, ``python -m fuzz LAYER --seconds 600`` (atheris).
"""
