"""The conformance kit: passes the built-in methods, catches every kind of wrong one, and is no burden to others."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from xlbench.plugins.registry import load_registry

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["pytester"]

WRONG = Path(__file__).with_name("wrong_methods.py")
KIT_TESTS = 12
LONG = os.environ.get("XLBENCH_FAULTS") == "long"
# All stages and a loop; live hidden states; tables by frequency; no layer at all; no student.
KINDS = ["frequency-adaptive", "minilmv2", "multistage", "reference", "static"]
CAUGHT = {
    "right": set(),
    "silent": {"options_are_validated_documented_and_serialisable", "every_option_changes_something"},
    "inert": {"every_option_changes_something"},
    "unordered": {"the_plan_is_valid_and_always_the_same"},
    # A plan that is not valid cannot be run either.
    "unchained": {"the_plan_is_valid_and_always_the_same", "it_runs_without_a_network"},
    "reading": {"the_plan_is_valid_and_always_the_same"},
    "networker": {"it_runs_without_a_network"},
    "suite-reader": {"it_never_touches_evaluation_data"},
    "source-reader": {"it_never_touches_evaluation_data"},
    # An option that changes the artifact and no fingerprint seems, by fingerprints alone, to change nothing.
    "hidden-option": {
        "the_fingerprint_changes_with_what_matters_and_not_otherwise",
        "every_option_changes_something",
    },
    "clashing": {"it_can_be_stored_in_eight_bits"},
    "named": {"the_fingerprint_changes_with_what_matters_and_not_otherwise"},
    # Noise shows whenever two runs are compared: also the one that was killed, and the one with another seed.
    "noisy": {
        "the_same_seed_gives_the_same_artifact",
        "it_resumes_after_a_kill",
        "the_fingerprint_changes_with_what_matters_and_not_otherwise",
    },
    "forgetful": {"it_resumes_after_a_kill"},
    "hooked": {"the_artifact_loads_with_plain_sentence_transformers"},
    "collapsed": {"embeddings_are_finite_and_not_collapsed"},
    # NaN is equal to nothing, itself included; and what has such vectors is not loaded, so that it cannot be counted.
    "not-a-number": {
        "embeddings_are_finite_and_not_collapsed",
        "it_can_be_stored_in_eight_bits",
        "the_artifact_loads_with_plain_sentence_transformers",
        "the_declared_size_is_the_counted_size",
    },
    # The engine checks the size after every edit, so it does not run either.
    "liar": {"the_declared_size_is_the_counted_size", "it_runs_without_a_network"},
}
MESSAGES = {
    "silent": "option 'scale' of SilentOptions has no description",
    "inert": "options of inert that change no fingerprint, whatever the other options, the student spec and the"
    " teachers are: speed (tried: 0.25, 0.75, 0.625, 0.375, 1.0).",
    "clashing": "Two encoders of the plan are called 'quantised'",
    "unchained": "Stage 'student' reads 'alined'",
    "networker": "in _network",
    "suite-reader": "in _suite",
    "source-reader": "in _sources",
    "hidden-option": "option scale",
    "named": "the fingerprint changes with the name of the student",
    "reading": "in reading",
    "liar": "positions 130 instead of 131",
}


def run_kit(pytester: pytest.Pytester, *options: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Run the kit in a process of its own; return outcome and message by method and test."""
    report = pytester.path / "report.xml"
    pytester.runpytest_subprocess("-p", "no:cacheprovider", f"--junitxml={report}", *options)
    verdicts: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for case in ElementTree.parse(report).iter("testcase"):
        test, _, method = case.attrib["name"].removesuffix("]").partition("[")
        found = next((part for part in case if part.tag in {"failure", "error", "skipped"}), None)
        text = "" if found is None else f"{found.attrib.get('message', '')}\n{found.text}"
        verdicts[method][test.removeprefix("test_")] = ("passed" if found is None else found.tag, text)
    return verdicts


def failed(tests: dict[str, tuple[str, str]]) -> set[str]:
    return {test for test, (outcome, _) in tests.items() if outcome in {"failure", "error"}}


def test_the_methods_that_ship_with_xlbench_keep_every_promise(pytester: pytest.Pytester) -> None:
    names = sorted(name for plugin in load_registry().loaded if plugin.distribution == "xlbench"
                   for kind, name in plugin.brings if kind == "method")  # fmt: skip
    if not LONG:  # one of each kind; `tox run -e faults` tries all
        assert set(names) > set(KINDS)
        names = KINDS
    verdicts = run_kit(pytester, *(f"--xlbench-method={name}" for name in names))
    assert set(verdicts) == set(names)
    for name, tests in verdicts.items():
        assert len(tests) == KIT_TESTS
        assert not failed(tests), f"{name}: {[tests[test] for test in failed(tests)]}"
        # Nothing is skipped, but for a method that makes no student.
        made = load_registry().methods[name].student
        assert [outcome for outcome, _ in tests.values()].count("skipped") == (0 if made else 6), name


def test_every_kind_of_wrong_method_is_caught_by_the_assertion_that_is_about_it(pytester: pytest.Pytester) -> None:
    # In the short form a wrong method meets only the tests that it should fail; in the long form it fails no other.
    expected = [f"test_{test}[{name}]" for name, tests in CAUGHT.items() for test in sorted(tests)]
    selection = [] if LONG else ["-k", " or ".join(["[right]", *expected])]
    methods = [f"--xlbench-method={name}" for name in CAUGHT]
    verdicts = run_kit(pytester, f"--xlbench-plugin={WRONG}", *methods, *selection)
    assert {name: failed(tests) for name, tests in verdicts.items()} == CAUGHT
    assert len(verdicts["right"]) == KIT_TESTS
    for name, words in MESSAGES.items():
        said = "\n".join(text for _, text in verdicts[name].values())
        assert words in said, name
    # Each of the kit's assertions has caught something.
    assert set().union(*CAUGHT.values()) == set(verdicts["right"])


def test_without_a_method_the_plugin_imports_nothing_and_adds_no_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_light():
            assert "xlbench.testing.plugin" in sys.modules
            heavy = {"torch", "numpy", "pydantic", "transformers", "xlbench.plugins.registry"}
            assert not heavy & set(sys.modules)
        """
    )
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


def test_an_unknown_method_is_refused_with_the_nearest_name(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--xlbench-method", "multistge")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*Unknown method 'multistge'.", "*Did you mean multistage?"])


def test_a_broken_plugin_is_reported_when_a_method_is_missing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(bad="raise OSError('no such library')\n")
    result = pytester.runpytest_subprocess("--xlbench-plugin", "bad.py", "--xlbench-method", "mine")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*Broken plugin '*bad.py' (file): OSError: no such library (bad.py:1 in <module>)"])
