"""What the functions of ``import xlbench`` take, checked: where things are, and the settings of a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

from pydantic import Field

from xlbench.errors import XlbenchError, look_up, nearest
from xlbench.fingerprint import Frozen
from xlbench.plugins.registry import load_registry
from xlbench.runs.request import Request, make_request, parse_list, parse_seeds, read_toml
from xlbench.settings import MOST_THREADS, path_of, read_settings
from xlbench.validation import validated

if TYPE_CHECKING:
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings

# Any one of its packages serves.
TRACKERS: dict[str, tuple[str, ...]] = {
    "mlflow": ("mlflow",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
Text = Annotated[str, Field(min_length=1)]


class Where(TypedDict, total=False):
    """Where things are on this machine and how to run on it; each as on the command line.

    Attributes:
        home: The store [XLBENCH_HOME, ~/.cache/xlbench].
        data_root: Local copies of hub data and models [XLBENCH_DATA].
        offline: Never ask the hub [HF_HUB_OFFLINE].
        device: 'cpu', 'cuda' or 'mps'; chosen by what is there if not given.
        compile: Compile training; chosen likewise.
        threads: Threads for torch.
        report_to: Trackers that are told how training goes: 'tensorboard', 'wandb', 'mlflow', 'trackio', or several.
        plugin: Plugins as single files.
        quiet: No progress bars and no notes.
    """

    home: str | Path | None
    data_root: str | Path | None
    offline: bool
    device: str | None
    compile: bool | None
    threads: int | None
    report_to: str | Sequence[str]
    plugin: str | Path | Sequence[str | Path]
    quiet: bool


class _Switches(Frozen):
    """What :class:`Where` says beside paths, checked."""

    offline: bool = False
    device: Text | None = None
    compile: bool | None = None
    threads: int | None = Field(default=None, ge=1, le=MOST_THREADS)
    report_to: Text | tuple[Text, ...] = ()
    quiet: bool = False


def request_of(config: str | Path | None, given: Mapping[str, object]) -> Request:
    """Return a request from a TOML file and what replaces its settings; options are joined, one by one.

    Raises:
        XlbenchError: The file cannot be read, or a setting is unknown or of the wrong kind.
    """
    settings = read_toml(path_of(config, "config")) if config is not None else {}
    for name, value in given.items():
        if name == "options" and isinstance(value, Mapping):
            before = settings.get("options", {})
            settings["options"] = {**(before if isinstance(before, Mapping) else {}), **value}
        else:
            settings[name] = _as_list(name, value)
    return make_request(settings)


def _as_list(name: str, value: object) -> object:
    """Return what is given for a setting that may be a list: a text is read as on the command line."""
    if name in {"teacher", "corpus", "keep_out"} and isinstance(value, str | Path):
        return (value,)
    if name == "vocabulary_text" and isinstance(value, Path):
        return str(value)
    if name == "languages" and isinstance(value, str):
        return parse_list(value)
    if name == "seeds":
        return parse_seeds(value) if isinstance(value, str) else (value,) if isinstance(value, Integral) else value
    return value


def place(where: Where) -> tuple[Settings, Registry]:
    """Return the settings and the plugins that keyword arguments ask for.

    Raises:
        XlbenchError: An argument is unknown, the data root is no directory, or a plugin file cannot be used.
    """
    settings = place_of(where)
    return settings, load_registry(plugin_files(where))


def place_of(where: Where) -> Settings:
    """Return the settings that keyword arguments ask for.

    Raises:
        XlbenchError: An argument is of the wrong kind, or a directory cannot be used.
    """
    switches = {name: value for name, value in where.items() if name in _Switches.model_fields}
    asked = validated(_Switches, switches, "argument")
    return read_settings(
        where.get("home"),
        where.get("data_root"),
        offline=asked.offline,
        device=asked.device,
        compile_training=asked.compile,
        threads=asked.threads,
        quiet=asked.quiet,
        report_to=_trackers(asked.report_to),
    )


def _trackers(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return trackers, each once.

    Raises:
        XlbenchError: One is unknown, or its package is not installed.
    """
    names = tuple(dict.fromkeys([given] if isinstance(given, str) else given))
    for name in names:
        packages = look_up("tracker", name, TRACKERS)
        if not any(find_spec(package) for package in packages):
            raise XlbenchError(f"To report to {name}, {packages[0]} must be installed.", f"pip install {packages[0]}")
    return names


def plugin_files(where: Where) -> tuple[Path, ...]:
    """Return the plugin files that are asked for, each once.

    Raises:
        XlbenchError: One of them is no path.
    """
    given: object = where.get("plugin")
    files = () if given is None else given if isinstance(given, list | tuple | set | frozenset) else (given,)
    return tuple({path.resolve(): path for path in (path_of(file, "plugin") for file in files)}.values())


def refuse_unknown(function: Callable[..., object], where: Mapping[str, object]) -> None:
    """Refuse a keyword that a function does not have.

    Raises:
        XlbenchError: It does not; the remedy proposes the nearest of those that it has.
    """
    for name in where:
        if name not in Where.__annotations__:
            own = [it for it in inspect.signature(function).parameters if it != "where"]
            raise XlbenchError(f"Unknown argument '{name}'.", nearest(name, [*own, *Where.__annotations__]))
