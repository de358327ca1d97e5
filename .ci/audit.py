"""Compares what CI installs with PyPI's list of known vulnerabilities, by pip-audit (``tox run -e audit``).

pip-audit ends well when it knows nothing of any package, as where PyPI's advisories cannot be reached. Here that is an
error, so that a success always means that every package was looked up.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^[\w.-]+==[^\\\n]+", re.MULTILINE)


def pins() -> list[str]:
    """Return 'name==version; marker' of all that the lock names, and torch, which it does not."""
    torch = [pin for pin in PIN.findall((ROOT / "constraints.txt").read_text("utf-8")) if pin.startswith("torch==")]
    return [*PIN.findall((ROOT / "requirements" / "ci.txt").read_text("utf-8")), *torch]


def verdict(answer: str, said: str) -> str:
    """Return what is wrong, given pip-audit's JSON and its messages; empty if every package is free of advisories."""
    try:
        packages = json.loads(answer)["dependencies"]
    except ValueError:
        cause = next(iter(said.strip().splitlines()[-1:]), "it said nothing")  # the exception, under its traceback
        return f"Nothing was audited: PyPI's advisories cannot be reached, or pip-audit failed.\n{cause}"
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        return "Nothing was audited: PyPI's advisories cannot be reached from here. Run it where they can."
    lines = [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    if skipped:
        lines.append(f"Not audited, since PyPI gives no advisories for them: {', '.join(skipped)}.")
    return "\n".join(lines)


def main() -> None:
    """Run pip-audit and end with what is wrong."""
    with TemporaryDirectory() as directory:
        listed = Path(directory, "requirements.txt")
        listed.write_text("\n".join(pins()), "utf-8")
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        done = subprocess.run(  # noqa: S603 - our own arguments
            [*command, "--format", "json", "--requirement", str(listed)], capture_output=True, text=True, check=False
        )
    if problem := verdict(done.stdout, done.stderr):
        sys.exit(problem)
    sys.stdout.write(f"{len(pins())} packages, no known vulnerability\n")


if __name__ == "__main__":
    main()
