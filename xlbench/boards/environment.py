"""The packages of the running environment, as a requirements file for another machine."""

from __future__ import annotations

import platform
import re
from importlib.metadata import Distribution, distributions

HEAD = """\
# The packages that were installed where this bundle was made: Python {python}, {system} {machine}.
# With a network, there or on a machine of the same kind: python -m pip download --no-deps -r requirements.txt -d wheels
# A version with '+' is a build of an index of its own: torch's, +cpu, needs
# --extra-index-url https://download.pytorch.org/whl/cpu
"""


def requirements() -> str:
    """Return a line ``name==version`` for each installed package; one that is from no index stands in a comment."""
    found: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:  # else the rest of a broken installation
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), _line(name, distribution))
    head = HEAD.format(python=platform.python_version(), system=platform.system(), machine=platform.machine())
    return head + "".join(f"{found[name]}\n" for name in sorted(found))


def _line(name: str, distribution: Distribution) -> str:
    if distribution.read_text("direct_url.json") is None:  # which installers write for directories, archives and clones
        return f"{name}=={distribution.version}"
    return f"# {name}=={distribution.version}: installed from its source; build its wheel (python -m pip wheel)"
