"""The backends that ship with the harness; they enter through the same entry points as a third party's."""
