"""Any text that a user may write gives a value or an error of xlbench, and what is printed is read as the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from xlbench.cli.options import parse_assignments
from xlbench.errors import UNPRINTABLE, XlbenchError, printable
from xlbench.plugins.registry import load_registry
from xlbench.runs.request import Request, inline_spec, load_toml, make_request, parse_list, parse_seeds

if TYPE_CHECKING:
    from collections.abc import Callable

# The same examples each time, few enough for a second or two, and no database in the working directory.
quick = settings(derandomize=True, max_examples=60, deadline=None, database=None)

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-_0123456789", min_size=1, max_size=10)
SCALARS = st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
SEEDS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5, unique=True)
SPEC = re.compile(r"[BKRH]=\d+(,[BKRH]=\d+)*")


def answer(read: Callable[[], object]) -> object:
    """What reading gives; what it raises is an error of xlbench, in two printable lines."""
    try:
        return read()
    except XlbenchError as error:
        lines = str(error).split("\n")
        assert len(lines) <= 2
        assert not any(UNPRINTABLE.search(line) for line in lines)
        return None


@quick
@given(TEXTS)
def test_any_text_for_seeds_is_numbers_or_an_error(text: str) -> None:
    found = answer(lambda: parse_seeds(text))
    assert found is None or found == [int(part) for part in text.split(",")]


@quick
@given(SEEDS)
def test_seeds_are_read_as_they_are_printed(seeds: list[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == seeds
    assert make_request({"seeds": seeds}).seeds == tuple(sorted(seeds))


@quick
@given(st.lists(st.integers(0, 99), min_size=2, max_size=4), st.sampled_from([" ", "  ", ";", " ; ", "\t"]))
def test_seeds_between_other_signs_are_told_with_commas(seeds: list[int], sign: str) -> None:
    with pytest.raises(XlbenchError) as raised:
        parse_seeds(sign.join(map(str, seeds)))
    assert raised.value.remedy == f"Separate them by commas: --seeds {','.join(map(str, seeds))}."


@quick
@given(TEXTS)
def test_any_text_for_languages_is_names_or_an_error(text: str) -> None:
    found = answer(lambda: parse_list(text))
    assert found is None or found == [part.strip() for part in text.split(",") if part.strip()]


@quick
@given(st.lists(NAMES, min_size=1, max_size=5))
def test_languages_are_read_as_they_are_printed(names: list[str]) -> None:
    assert parse_list(",".join(names)) == names


@quick
@given(TEXTS | st.from_regex(SPEC, fullmatch=True))
def test_any_text_for_a_student_is_a_spec_or_an_error(text: str) -> None:
    answer(lambda: inline_spec(text))


@quick
@given(st.integers(1, 2**16), st.integers(1, 1000), st.integers(1, 1000))
def test_a_spec_is_read_as_it_is_printed_up_to_a_thousand_layers(width: int, layers: int, repeats: int) -> None:
    spec = answer(lambda: inline_spec(f"B={width},K={layers},R={repeats}"))
    if layers * repeats > 1000:
        assert spec is None
    else:
        assert (spec.bottleneck, spec.layers, spec.repeats) == (width, layers, repeats)  # type: ignore[attr-defined]


@quick
@given(st.lists(TEXTS, max_size=3))
def test_any_option_is_a_pair_or_an_error(words: list[str]) -> None:
    answer(lambda: parse_assignments(tuple(words)))


@quick
@given(st.sampled_from(sorted(load_registry().methods)), st.data())
def test_any_value_of_an_option_is_read_or_an_error(method: str, data: st.DataObject) -> None:
    registered = load_registry().methods[method]
    names = st.sampled_from(sorted(registered.options.model_fields) or ["none"]) | TEXTS
    chosen = data.draw(st.dictionaries(names, VALUES, max_size=3))
    read = answer(lambda: registered.read_options(chosen))  # type: ignore[arg-type]
    if read is not None:  # what is read is written and read again as the same
        assert registered.read_options(read.model_dump(mode="json")) == read  # type: ignore[attr-defined]


@quick
@given(st.dictionaries(st.sampled_from(sorted(Request.model_fields)), VALUES, max_size=4))
def test_any_values_of_settings_are_a_request_or_an_error(given_settings: dict[str, object]) -> None:
    answer(lambda: make_request(given_settings))


@quick
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "method": TEXTS, "student": TEXTS, "suite": TEXTS, "budget": TEXTS, "assistant": TEXTS, "seeds": SEEDS,
            "languages": st.lists(TEXTS, max_size=3), "corpus": st.lists(TEXTS, min_size=1, max_size=3),
            "bits": st.sampled_from([8, 16, 32]), "student_pairs": st.integers(1, 10**10),
            "options": st.dictionaries(TEXTS, SCALARS, max_size=3),
        },
    )
)  # fmt: skip
def test_a_request_is_read_as_it_is_printed(
    tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, object]
) -> None:
    request = make_request(chosen)
    path = tmp_path_factory.getbasetemp() / "printed.toml"
    # As the command prints it: what would steer a terminal is escaped, and TOML reads it as what it was.
    text = printable(tomli_w.dumps(request.model_dump(mode="json", exclude_none=True)), layout=True)
    path.write_bytes(text.encode())
    assert make_request(load_toml(path, "", "")) == request


@quick
@given(st.binary(max_size=60))
def test_any_file_is_toml_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    answer(lambda: load_toml(path, "", "Give another."))
