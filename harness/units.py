"""The one place where a number meets its unit."""

from typing import Literal

Unit = Literal["ms", "s", "images", "images/s", "bytes", "mW", "fraction", "count", "1"]

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
MS_PER_S = 1_000


def ns_to_ms(duration_ns: int) -> float:
    """Nanoseconds as milliseconds."""
    return duration_ns / NS_PER_MS


def ns_to_s(duration_ns: int) -> float:
    """Nanoseconds as seconds."""
    return duration_ns / NS_PER_S


def format_duration(seconds: float) -> str:
    """Spell a duration as a person would: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def format_bytes(size: float) -> str:
    """Spell a size with a binary prefix: 512 B, 1.7 GiB."""
    for prefix in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {prefix}" if prefix == "B" else f"{size:.1f} {prefix}"
        size /= 1024
    return f"{size:.1f} GiB"
