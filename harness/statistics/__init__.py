"""Statistics of raw samples, numpy only; percentiles that say when they cannot be known."""
