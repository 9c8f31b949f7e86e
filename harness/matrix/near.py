"""The names that a user may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

LISTED = 30


def one_of(names: Iterable[object]) -> str:
    """Spell a choice as a sentence does: a, b or c; a long list ends with how many more there are."""
    spelled = [str(name) for name in names]
    if len(spelled) > LISTED:
        return f"{', '.join(spelled[:LISTED])} or {len(spelled) - LISTED} more"
    if len(spelled) < 2:
        return "".join(spelled)
    return f"{', '.join(spelled[:-1])} or {spelled[-1]}"


def near_names(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known names that resemble `name`, the nearest first; letter case does not count."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    return [by_lower[hit] for hit in get_close_matches(name.lower(), sorted(by_lower), n=limit, cutoff=0.6)]


def suggest(name: str, known: Iterable[str]) -> str:
    """What would be right instead of `name`: the near names, else all of them, else that there is none."""
    names = sorted(set(known))
    if near := near_names(name, names):
        return f"did you mean {one_of(near)}?"
    return f"known: {', '.join(names)}" if names else "there is none to choose from"
