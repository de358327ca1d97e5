"""The pytest plugin: two options. Without them it does nothing and imports nothing but pytest."""

from __future__ import annotations

from pathlib import Path

import pytest

ALL = "all"
SUITE = Path(__file__).with_name("conformance.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("xlbench", "conformance of xlbench methods")
    group.addoption(
        "--xlbench-method",
        action="append",
        default=[],
        metavar="NAME",
        help="hold this method to what xlbench promises of methods, on toys; 'all' for every registered one",
    )
    group.addoption(
        "--xlbench-plugin",
        action="append",
        default=[],
        metavar="FILE",
        help="a plugin as one file, as of xlbench --plugin",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect the conformance tests if a method was named.

    Raises:
        pytest.UsageError: There is no such method.
    """
    if not config.getoption("xlbench_method"):
        return
    requested_methods(config)  # an unknown name ends the run before anything is collected
    # As if it had been given as an argument, so that -k and xdist work on it as on any other file.
    if str(SUITE) not in config.args:
        config.args.append(str(SUITE))


def plugin_files(config: pytest.Config) -> tuple[Path, ...]:
    """Return the plugins given as files."""
    return tuple((config.invocation_params.dir / name).absolute() for name in config.getoption("xlbench_plugin"))


def requested_methods(config: pytest.Config) -> list[str]:
    """Return the names of the methods that were asked for, each once.

    Raises:
        pytest.UsageError: There is no such method.
    """
    from xlbench.errors import XlbenchError, look_up
    from xlbench.plugins.registry import load_registry

    try:
        registry = load_registry(plugin_files(config), strict=False)
    except XlbenchError as error:
        raise pytest.UsageError(str(error)) from None
    names = list(dict.fromkeys(config.getoption("xlbench_method")))
    if ALL in names:
        return sorted(registry.methods)
    try:
        for name in names:
            look_up("method", name, registry.methods)
    except XlbenchError as error:
        # The method may be in a plugin that is broken.
        broken = "".join(f"\nBroken plugin '{it.name}' ({it.distribution}): {it}" for it in registry.broken)
        raise pytest.UsageError(f"{error}{broken}") from None
    return names
