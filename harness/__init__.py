"""The host of the benchmarking harness: plans, runs, measures, scores and reports; it imports no framework."""
