"""Results to rows: speed-up, scaling, percentiles."""
