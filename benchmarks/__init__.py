"""What xlbench's speed is measured with: ``python -m benchmarks.speed``; no part of the package."""
