"""What ``import xlbench`` does on a Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Unpack

from xlbench.arguments import Text, Where, place_of, refuse_unknown
from xlbench.disk import answered
from xlbench.fingerprint import Frozen
from xlbench.settings import path_of
from xlbench.validation import validated

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.exports.push import Pushed

    Say = Callable[[str], None]


class _Pushing(Frozen):
    repository: Text
    private: bool
    force: bool
    dry_run: bool
    say: Callable[[str], None]


def push(
    directory: str | Path,
    repository: str,
    *,
    private: bool = True,
    force: bool = False,
    dry_run: bool = False,
    say: Say = lambda _: None,
    **where: Unpack[Where],
) -> Pushed:
    """Push a saved or exported encoder to the Hugging Face hub, in one commit: all of it or nothing.

    Args:
        directory: As ``student.save`` or :func:`export` made it; it must have a model card, load, and hold no pickle.
            Hidden files are not pushed.
        repository: 'org/name'; made if it is not there.
        private: Only members of the organisation see it. A repository that everybody sees is refused then.
        force: Replace other files that the repository has, in a new commit.
        dry_run: Send nothing, only say what would be sent; neither a network nor a token is needed.
        say: Told when the repository has the same files already.
        where: As :class:`Where` says.

    Returns:
        Where it is, and its files.

    Raises:
        XlbenchError: The directory is damaged, has no model card or may hold a pickle; xlbench is offline or there is
            no token; the hub refuses; or the repository has other files.
    """
    from xlbench.exports.push import push_directory

    refuse_unknown(push, where)
    given = {"repository": repository, "private": private, "force": force, "dry_run": dry_run, "say": say}
    asked = validated(_Pushing, given, "argument")
    with answered():
        return push_directory(
            path_of(directory, "directory"),
            asked.repository,
            place_of(where),
            private=asked.private,
            force=asked.force,
            dry_run=asked.dry_run,
            say=asked.say,
        )
