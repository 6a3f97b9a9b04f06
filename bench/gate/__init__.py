"""The gate: what this commit costs against its merge-base, both measured in one job by the same
measuring code. ``python -m bench.gate``; that it can be trusted: ``python -m
bench.gate.self_test``."""
