"""One trial, one backend, one process group."""
