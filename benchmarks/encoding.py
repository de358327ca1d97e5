"""Encoding: ``encode`` against ``SentenceTransformer.encode`` and the limit, on mixed and on equal lengths."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch

from benchmarks.limit import measure_limit
from benchmarks.measure import clock, in_turns, ratios, spread
from benchmarks.results import Line, Part, Table, at_least, at_most
from xlbench.distill.flops import encoding_work
from xlbench.encoders.encode import encode
from xlbench.students.surgery import stock_encoder, transformer_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from benchmarks.material import Material
    from xlbench.experiment import Precision
    from xlbench.fingerprint import Json

OURS = "xlbench"
BATCHES = (32, 128)  # SentenceTransformer.encode's default, and one that suits short sentences
LIMIT_TOKENS = 4096
FEWEST_EQUAL = 16
INT8 = "onnxruntime, onnx-int8"
CALIBRATION = 256  # sentences on which maps that must stay in floats are found


class Sample(NamedTuple):
    """Sentences, and the tokens of each."""

    texts: list[str]
    lengths: NDArray[np.int64]


class Timing(NamedTuple):
    """Seconds, and the vectors of the last repetition."""

    seconds: list[float]
    vectors: NDArray[np.float32]


def measure_encoding(material: Material, *, repetitions: int, sentences: int) -> Part:
    """Time both encoders in every dtype, on both kinds of sentences."""
    model = material.assistant()
    exported = exports(material)
    low = material.assistant().to(torch.bfloat16)
    kinds = {"mixed lengths": mixed(material, model, sentences), "equal lengths": equal(material, model, sentences)}
    precisions: list[Precision] = list(dict.fromkeys([material.precision, "float32"]))
    shape = transformer_shape(stock_encoder(model))
    rows: list[tuple[str, ...]] = []
    lines: list[Line] = []
    raw: dict[str, Json] = {}
    for precision in precisions:
        for kind, sample in kinds.items():
            print(f"encoding: {precision}, {kind}", flush=True)
            limits: list[float] = []

            def limit(precision: Precision = precision, limits: list[float] = limits) -> tuple[float, None]:
                limits.append(measure_limit(shape, precision, LIMIT_TOKENS, device=material.device).gflops)
                return 0.0, None

            peer = low if precision == "bfloat16" else model
            contenders: dict[str, Callable[[], tuple[float, NDArray[np.float32] | None]]] = {
                "limit": limit,
                OURS: partial(_run_xlbench, model, sample.texts, precision),
                **{
                    f"SentenceTransformer, batch {size}": partial(_run_peer, peer, sample.texts, size)
                    for size in BATCHES
                },
                **{name: partial(_run_xlbench, other, sample.texts, precision) for name, other in exported.items()},
            }
            for name, run in contenders.items():
                if name != "limit":
                    run()  # warm-up: builds what depends on shapes
            found = {name: _timing(each) for name, each in in_turns(contenders, repetitions).items() if name != "limit"}
            work = encoding_work(shape, sample.lengths).total / 1e9
            shares = {
                name: ratios([100 * work / one for one in timing.seconds], limits) for name, timing in found.items()
            }
            over = {name: ratios(timing.seconds, found[OURS].seconds) for name, timing in found.items()}
            for name, timing in found.items():
                rate = spread([len(sample.texts) / one for one in timing.seconds])
                rows.append((precision, kind, name, rate.show(0), f"{shares[name].show()} %", f"{over[name].show(2)}×"))
            raw[f"{precision}, {kind}"] = {
                "sentences": len(sample.texts),
                "gflop": work,
                "limits": cast("Json", limits),
                "seconds": cast("Json", {name: timing.seconds for name, timing in found.items()}),
            }
            theirs_over = [each for name, each in over.items() if name not in {OURS, *exported}]
            best = min(theirs_over, key=lambda each: each.median)
            own = shares[OURS]
            title = f"encoding, {precision}, {kind}"
            if INT8 in found and kind == "mixed lengths":
                faster = ratios(found[OURS].seconds, found[INT8].seconds)
                least = {"bfloat16": 1.5, "float32": 3.0}.get(precision, 1.0)
                lines.append(
                    at_least(
                        f"{title}: onnx-int8 at least {least:g}× xlbench", faster.median, least, f"{faster.show(2)}×"
                    )
                )
            lines.append(at_least(f"{title}: at least 65 % of the limit", own.median, 65, f"{own.show()} %"))
            times = 2 if kind == "mixed lengths" and material.device == "cpu" else 1
            lines.append(
                at_least(
                    f"{title}: at least {times}× SentenceTransformer.encode", best.median, times, f"{best.show(2)}×"
                )
            )
    differences = _differences(model, low, kinds["mixed lengths"].texts, precisions)
    bounds = {"bfloat16": 1e-3, "float32": 1e-6}
    lines += [
        at_most(
            f"encoding, {precision}: within {bounds[precision]:g} cosine of SentenceTransformer.encode in float32",
            differences[f"xlbench, {precision}"],
            bounds[precision],
            f"{differences[f'xlbench, {precision}']:.1e}",
        )
        for precision in precisions
    ]
    return Part(
        title="Encoding",
        how=(
            f"multilingual-e5-small (12 layers), {len(kinds['mixed lengths'].texts)} sentences of mixed length "
            f"({kinds['mixed lengths'].lengths.mean():.1f} tokens on average, {kinds['mixed lengths'].lengths.max()} "
            f"at most) and {len(kinds['equal lengths'].texts)} of {kinds['equal lengths'].lengths[0]} tokens, from "
            f"{material.source}; cutting into tokens is in. In bfloat16 SentenceTransformer has its weights in that "
            "dtype, as its documentation advises. Exports of the same encoder compute in their own types in all rows."
        ),
        tables=(
            Table(
                title="Sentences per second",
                header=("Computes in", "Sentences", "Encoder", "Sentences/s", "Of the limit", "xlbench is"),
                rows=tuple(rows),
            ),
            Table(
                title="Largest 1 - cosine to SentenceTransformer.encode in float32",
                header=("Encoder", "1 - cosine"),
                rows=tuple((name, f"{value:.1e}") for name, value in differences.items()),
            ),
        ),
        lines=tuple(lines),
        data={"timings": raw, "differences": cast("Json", differences)},
    )


def exports(material: Material) -> dict[str, SentenceTransformer]:
    """Return the assistant as graphs, in float32 and in integers; those whose extra is installed."""
    from xlbench.encoders.exported import load_exported
    from xlbench.errors import XlbenchError
    from xlbench.exports.formats import check_format, find_format

    found: dict[str, SentenceTransformer] = {}
    sentences = material.corpus.sentences
    texts = [sentences[number] for number in range(min(CALIBRATION, len(sentences)))]
    for name, to in {"onnxruntime, float32": "onnx", INT8: "onnx-int8", "OpenVINO, int8": "openvino-int8"}.items():
        try:
            check_format(to)
        except XlbenchError:
            continue
        directory = material.work / to
        directory.mkdir(exist_ok=True)
        find_format(to).write(material.assistant().to("cpu"), directory, texts)
        found[name] = load_exported(directory, material.settings.threads)
    return found


def mixed(material: Material, model: SentenceTransformer, count: int) -> Sample:
    """Return both sides of the first pairs, which mix languages and lengths."""
    ids = material.corpus.pairs[: count // 2].reshape(-1)
    lengths = material.context(1).tokens(model).lengths()[ids]
    return Sample([material.corpus.sentences[int(one)] for one in ids], np.asarray(lengths))


def equal(material: Material, model: SentenceTransformer, count: int) -> Sample:
    """Return sentences of one length: the longest one of up to 24 tokens that enough sentences have."""
    lengths = np.asarray(material.context(1).tokens(model).lengths())
    counts = np.bincount(lengths, minlength=25)
    enough = [length for length in range(25) if counts[length] >= count // 2]
    length = max(enough) if enough else int(counts.argmax())
    ids = np.flatnonzero(lengths == length)[: max(FEWEST_EQUAL, count // 2)]
    return Sample([material.corpus.sentences[int(one)] for one in ids], lengths[ids])


def _run_xlbench(
    model: SentenceTransformer, texts: list[str], precision: Precision
) -> tuple[float, NDArray[np.float32] | None]:
    with clock() as taken:
        vectors = encode(model, texts, precision=precision)
    return taken.seconds, np.asarray(vectors, np.float32)


def _run_peer(model: SentenceTransformer, texts: list[str], batch: int) -> tuple[float, NDArray[np.float32] | None]:
    with clock() as taken:
        vectors = model.encode(texts, batch_size=batch, show_progress_bar=False, convert_to_tensor=True).float().cpu()
    return taken.seconds, vectors.numpy()


def _timing(runs: list[tuple[float, NDArray[np.float32] | None]]) -> Timing:
    vectors = runs[-1][1]
    assert vectors is not None
    return Timing([seconds for seconds, _ in runs], vectors)


def _differences(
    model: SentenceTransformer, low: SentenceTransformer, texts: list[str], precisions: list[Precision]
) -> dict[str, float]:
    """Return the largest 1 - cosine of each way of encoding to sentence-transformers' own in float32."""
    _, exact = _run_peer(model, texts, BATCHES[0])
    ways = {f"xlbench, {precision}": _run_xlbench(model, texts, precision)[1] for precision in precisions}
    if "bfloat16" in precisions:
        ways["SentenceTransformer, bfloat16"] = _run_peer(low, texts, BATCHES[0])[1]
    assert exact is not None
    return {name: _distance(exact, vectors) for name, vectors in ways.items() if vectors is not None}


def _distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the largest 1 - cosine of rows; in float64 and from the difference of unit vectors: |u - v|^2 / 2."""
    units = [
        each.astype(np.float64) / np.linalg.norm(each.astype(np.float64), axis=1, keepdims=True)
        for each in (one, other)
    ]
    return float(np.square(units[0] - units[1]).sum(axis=1).max() / 2)
