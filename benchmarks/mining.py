"""Mining translations among many lines: seconds, peak memory, recall of the index, and whether the pairs are right.

``python -m benchmarks.mining --lines 1000000`` makes two files of synthetic lines, and an encoder that costs next to
nothing, so that the search is what is measured; then it calls :func:`xlbench.mine` in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.growth_child import Watcher, own_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from xlbench.progress import Work

WIDTH = 384
WORDS = 20_000  # of each language
SUBJECT_WORDS, OF_SUBJECT = 40, 0.6  # words of a subject, and the share of a sentence's words that are from them
LINES_OF_SUBJECT = 500
SHORTEST, LONGEST = 6, 14  # words
UNPAIRED = 0.1  # share of lines of each side that have no translation
NOISE = 0.5  # of a word's translation, as a multiple of the word's own deviation
BLOCK = 100_000
MIB = 2**20


class Outcome(NamedTuple):
    """What one mining took and gave.

    Attributes:
        seconds: By what was done.
        total: Of the whole call.
        own: Most bytes of the process without mapped files.
        before: Those before the call: Python and its libraries.
        resident: Most bytes of the process, mapped files in.
        recall: Of the index against the exact search; None without an index.
        pairs: That were mined.
        right: Of them, those that are translations.
        machine: CPU, threads, memory.
    """

    seconds: dict[str, float]
    total: float
    own: int
    before: int
    resident: int
    recall: float | None
    pairs: int
    right: int
    machine: str


def main() -> None:
    """Make the lines, mine them in a process of its own, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000, help="of each side")
    parser.add_argument("--work", type=Path, help="an empty directory on a disk with 4 kB for each line")
    parser.add_argument("--exact", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(mine(given.work, exact=given.exact)._asdict()))
        return
    with tempfile.TemporaryDirectory(dir=given.work, prefix="mining-") as directory:
        work = Path(directory)
        began = time.perf_counter()
        save_encoder(work / "encoder")
        write_lines(work, given.lines)
        print(f"2 x {given.lines:,} lines written in {time.perf_counter() - began:.0f} s", flush=True)
        exact = [] if given.exact is None else ["--exact" if given.exact else "--no-exact"]
        words = [sys.executable, "-m", "benchmarks.mining", "--child", "--work", str(work), *exact]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    show(given.lines, Outcome(**json.loads(done.stdout.splitlines()[-1])))


def show(lines: int, found: Outcome) -> None:
    """Print an outcome."""
    partners = round((1 - UNPAIRED) * lines)
    print(f"{lines:,} x {lines:,} lines, vectors of {WIDTH} numbers; {found.machine}")
    for title, seconds in found.seconds.items():
        print(f"  {seconds:8.1f} s  {title}")
    print(f"  {found.total:8.1f} s  in all")
    own, libraries, resident = (size / MIB for size in (found.own, found.before, found.resident))
    print(f"peak memory {own:,.0f} MiB without mapped files, {resident:,.0f} MiB with them;")
    print(f"{libraries:,.0f} MiB of the former are Python and its libraries")
    how = "exact" if found.recall is None else f"{100 * found.recall:.1f} % against the exact search, on a sample"
    print(f"recall of the neighbours: {how}")
    print(f"{found.pairs:,} pairs, {100 * found.right / max(1, found.pairs):.2f} % of them translations")
    print(f"{100 * found.right / partners:.2f} % of the {partners:,} translations found")


def mine(work: Path, *, exact: bool | None) -> Outcome:
    """Mine the lines of a directory."""
    import sentence_transformers  # noqa: F401 - so that it counts among the libraries
    import torch

    import xlbench
    from xlbench.distill.outcome import peak_memory
    from xlbench.progress import watched
    from xlbench.scoring.machine import cpu_name

    clock = Stopwatch(work)
    before = own_memory()
    watcher = Watcher()
    began = time.perf_counter()
    with watched(clock.look):
        found = xlbench.mine(
            work / "a.txt", work / "b.txt", model=work / "encoder", precision="float32", exact=exact,
            output=work / "pairs.parquet", home=work / "home", device="cpu",
        )  # fmt: skip
    total = time.perf_counter() - began
    own = watcher.stop()
    seconds = {title: round(took, 1) for title, took in clock.seconds.items() if title}
    seconds["all else: margins, pairs, recall, writing"] = total - sum(seconds.values())
    gold = np.load(work / "gold.npy")
    right = int((gold[found.lines[:, 0] - 1] == found.lines[:, 1]).sum())
    threads = f"{torch.get_num_threads()} threads"
    return Outcome(
        seconds, total, own, before, peak_memory(), found.recall, len(found), right, f"{cpu_name()}, {threads}"
    )


class Stopwatch:
    """Adds up the seconds of each work that reports progress."""

    def __init__(self, place: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._place = place
        self._title, self._since = "", time.perf_counter()

    def look(self, work: Work | None) -> None:
        """Note what goes on just now; called at every report."""
        now = time.perf_counter()
        self.seconds[self._title] = self.seconds.get(self._title, 0.0) + now - self._since
        self._title = "" if work is None else work.title.replace(f"{self._place}/", "")
        self._since = now


def write_lines(directory: Path, lines: int) -> None:
    """Write a.txt, b.txt and gold.npy: for each line of a the number of its translation in b, 0 for none."""
    generator = np.random.default_rng(0)
    subjects = generator.integers(0, WORDS, (max(20, lines // LINES_OF_SUBJECT), SUBJECT_WORDS))
    paired = round((1 - UNPAIRED) * lines)
    place = generator.permutation(lines)  # line i of a has its translation at place[i] of b
    sentences = [sentence for size in blocks(2 * lines - paired) for sentence in make(generator, subjects, size)]
    with (directory / "a.txt").open("w") as stream:
        stream.writelines(f"{' '.join(f'a{word}' for word in sentence)}\n" for sentence in sentences[:lines])
    others = [*range(paired), *range(lines, 2 * lines - paired)]
    order = np.empty(lines, np.int64)
    order[place] = others
    with (directory / "b.txt").open("w") as stream:
        for number in order.tolist():
            stream.write(f"{' '.join(f'b{word}' for word in sentences[number])}\n")
    gold = place + 1
    gold[paired:] = 0
    np.save(directory / "gold.npy", gold)


def blocks(count: int) -> list[int]:
    """Return sizes that add up to a count, none above :data:`BLOCK`."""
    return [min(BLOCK, count - start) for start in range(0, count, BLOCK)]


def make(generator: np.random.Generator, subjects: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Return sentences as numbers of words, most of them words of the sentence's subject."""
    subject = generator.integers(0, len(subjects), count)
    of_subject = subjects[subject[:, None], generator.integers(0, SUBJECT_WORDS, (count, LONGEST))]
    common = generator.integers(0, WORDS, (count, LONGEST))
    words = np.where(generator.random((count, LONGEST)) < OF_SUBJECT, of_subject, common).astype(np.int32)
    sizes = generator.integers(SHORTEST, LONGEST + 1, count)
    return [row[:size] for row, size in zip(words, sizes.tolist(), strict=True)]


def save_encoder(path: Path) -> None:
    """Save an encoder that averages a vector for each word; a translation's is the word's own, and noise."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    generator = np.random.default_rng(1)
    words = generator.standard_normal((WORDS, WIDTH)).astype(np.float32)
    translated = words + NOISE * generator.standard_normal(words.shape).astype(np.float32)
    names = ["[UNK]", *(f"{side}{number}" for side in "ab" for number in range(WORDS))]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    table = np.concatenate([np.zeros((1, WIDTH), np.float32), words, translated])
    modules: list[nn.Module] = [StaticEmbedding(tokenizer, embedding_weights=table), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(path), create_model_card=False)


if __name__ == "__main__":
    main()
