"""The store: one committed file per trial, and what reads them."""
