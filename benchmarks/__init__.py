"""One command for every figure: ``python -m benchmarks``.

A figure is measured in interleaved pairs within one run, because machines are shared and drift; it is the median ratio
with a 95 % bootstrap interval. A target is missed only when the whole interval lies beyond it.
"""
