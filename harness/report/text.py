"""Strings made safe for the place they go to: hosts, reasons and options come from outside and may hold anything."""

import re
import unicodedata

FORMULA_STARTS = tuple("=+-@＝＋－＠")
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
# No markup: an underscore between letters or digits (names), a < that begins no tag (n<64).
MARKUP = re.compile(r"[\\`*\[\]>&|~$]|<(?=[A-Za-z/!?])|(?<![^\W_])_|_(?![^\W_])")
ENTITIES = {"|": "&#124;", "<": "&lt;", ">": "&gt;", "&": "&amp;"}


def plain(text: str) -> str:
    """One line of visible characters: controls would act on a terminal, a line break would end a table's row."""
    spaced = re.sub(r"\s+", " ", text).strip()
    return "".join(shown(character) for character in spaced)


def shown(character: str) -> str:
    """The character, or its code point where it is invisible (controls, marks that reorder text, surrogates)."""
    hidden = unicodedata.category(character) in INVISIBLE
    return f"\\u{ord(character):04x}" if hidden else character


def markdown(text: object) -> str:
    """Text that GitHub's markdown shows as it is: it ends no cell and begins neither markup nor HTML."""
    return MARKUP.sub(lambda found: ENTITIES.get(found[0]) or f"\\{found[0]}", plain(str(text)))


def csv_cell(value: object) -> object:
    """A string that no spreadsheet runs as a formula; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
