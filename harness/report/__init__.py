"""Rows to markdown, HTML, charts and README blocks."""
