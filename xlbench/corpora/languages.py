"""Language codes: which are known, which is meant, and which language a text is in."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

ENGLISH = "en"
FEWEST_LETTERS = 1000  # of a side: with less text a language cannot be told
BLOCKS = 10  # parts of a sample that are identified on their own
AGREE = 0.8  # share of the parts that must be in one language
_QUALIFIED = re.compile(r"^(Modern|Standard) | \(.*\)$")
# Languages that the identifier takes for one another.
ALIKE = (
    {"no", "nb", "nn", "da"},
    {"hr", "bs", "sr", "sh"},
    {"id", "ms"},
    {"gl", "pt"},
    {"xh", "zu"},
    {"fa", "ps", "ur"},
)


def standard(code: str) -> str:
    """Return a language code in its shortest spelling, in lower case: 'de' for 'deu' and 'ger', 'he' for 'iw'."""
    import langcodes

    try:
        return langcodes.standardize_tag(code).lower()
    except ValueError:  # not the form of a code
        return code.lower()


def is_known(code: str) -> bool:
    """Return whether a code is a language's: ISO 639, with a script or region behind it (zh-hant, pt-br)."""
    import langcodes

    if not langcodes.tag_is_valid(code):
        return False
    # Any word of five letters or more counts as a variant, and any of three as an extension of any language.
    parts = langcodes.Language.get(code, normalize=False)
    return not parts.variants and (not parts.extlangs or parts.language in {"zh", "ar"})


def base(code: str) -> str:
    """Return the language of a code alone: 'pt' for 'pt-br'."""
    return standard(code).partition("-")[0]


def check_codes(codes: Sequence[str], corpus: str) -> None:
    """Refuse codes that are no language's, English, and two codes for one language.

    Args:
        codes: Of the sides that are not English.
        corpus: What names the corpus.

    Raises:
        XlbenchError: It says which code, and the nearest one.
    """
    seen: dict[str, str] = {}
    for code in codes:
        if not is_known(code):
            raise XlbenchError(
                f"'{code}' in corpus '{corpus}' is not the code of a language.",
                f"{nearest_code(code)} A language without a code takes one from qaa to qtz.",
            )
        if base(code) == ENGLISH:
            raise XlbenchError(
                f"Corpus '{corpus}' pairs English with English ('{code}').",
                "Remove that file, or name the other languages alone: '?languages=de,fr'.",
            )
        if (other := seen.setdefault(standard(code), code)) != code:
            raise XlbenchError(
                f"'{other}' and '{code}' in corpus '{corpus}' are codes of one language.",
                f"Put its pairs under '{standard(code)}'.",
            )


def nearest_code(code: str) -> str:
    """Return a sentence that proposes the code that may be meant: Greek, el, for the country gr."""
    import langcodes

    head = code.partition("-")[0]
    if len(head) == 2:
        spoken = langcodes.Language.make(territory=head.upper())
        if spoken.is_valid() and (language := spoken.maximize().language) not in {None, ENGLISH}:
            return f"Did you mean '{language}' ({_name(language)})? '{head}' is a country."
    if found := code_of_name(head):
        return f"Did you mean '{found}' ({_name(found)})?"
    return f"Did you mean '{head}'?" if is_known(head) else "Use a code of ISO 639, e.g. de."


def code_of_name(text: str) -> str | None:
    """Return the code of the language whose English name is, or begins with, ``text``: de for 'german', es for 'sp'."""
    wanted = text.casefold()
    names = {name.casefold(): code for code, name in _names().items() if code in _two_letters()}
    return names.get(wanted) or next((names[name] for name in sorted(names) if name.startswith(wanted)), None)


def is_name(text: str, code: str) -> bool:
    """Return whether a word names the language of a code: its English name, or one of its codes."""
    return standard(text) == standard(code) or text.casefold() == _name(base(code)).casefold()


def identify(texts: Sequence[str]) -> str | None:
    """Return the code of the language that texts are in, with a share of their parts that agrees; None if in doubt."""
    if sum(map(len, texts)) < FEWEST_LETTERS:
        return None
    from py3langid.langid import classify

    blocks = [" ".join(texts[start::BLOCKS]) for start in range(BLOCKS)]
    found = Counter(str(classify(block)[0]) for block in blocks if block)
    language, count = found.most_common(1)[0]
    return language if count >= AGREE * found.total() else None


@cache
def identifiable() -> frozenset[str]:
    """Return the codes of the languages that :func:`identify` knows."""
    from py3langid.langid import rank

    return frozenset(str(language) for language, _ in rank("text"))


def differ(found: str, code: str) -> bool:
    """Return whether an identified language is surely another one than that of ``code``."""
    meant = base(code)
    if found == meant or (meant not in identifiable() and found != ENGLISH):
        return False
    return not any({found, meant} <= alike for alike in ALIKE)


def _name(code: str) -> str:
    return _names().get(code, code)


@cache
def _names() -> dict[str, str]:
    """Return the English names of languages by code, in two letters where there are two, from the files of mteb."""
    short = {three: two for two, three in _read("iso_639_1_to_3").items()}
    names = _read("iso_639_3_to_language").items()
    return {short.get(code, code): _QUALIFIED.sub("", name) for code, name in names}  # 'Modern Greek (1453-)'


@cache
def _two_letters() -> frozenset[str]:
    return frozenset(_read("iso_639_1_to_3"))


def _read(name: str) -> dict[str, str]:
    spec = importlib.util.find_spec("mteb")  # finds a package without importing it, which takes seconds
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        if (file := Path(folder, "languages", f"{name}.json")).is_file():
            found: dict[str, str] = json.loads(file.read_text("utf-8"))
            return found
    return {}
