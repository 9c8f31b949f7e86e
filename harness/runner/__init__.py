"""The plan, carried out: launchers, resume, outcomes."""
