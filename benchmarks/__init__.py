"""The benchmarks: ratios within one run."""
