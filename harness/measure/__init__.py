"""The host's clock and what it reads about the machine."""
