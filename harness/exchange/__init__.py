"""Results for other tools and from them: MLPerf logs, DLLogger lines."""
