"""The nouns: frozen records without behaviour or I/O. Import each from its own module."""
