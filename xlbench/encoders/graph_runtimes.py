"""What runs exported encoders: the files that each runtime reads, the package it comes in, and how it is opened."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Protocol

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Features = Mapping[str, NDArray[np.int64]]  # token ids and mask, each [sentences, tokens]

FACTS = "xlbench"  # metadata of a graph
TOKENIZER = "tokenizer.json"  # beside every graph
EXAMPLES = "examples.json"  # sentences and the vectors that the graph gave them when it was written
OUTPUT = "sentence_embedding"


class Session(Protocol):
    """A graph that is loaded.

    Attributes:
        facts: What xlbench wrote into its metadata; empty if it wrote nothing.
    """

    facts: str

    def __call__(self, features: Features) -> NDArray[np.float32]:
        """Return the sentence vectors, float32 [sentences, dimension]."""
        ...


class Runtime(NamedTuple):
    """A runtime of exported encoders.

    Attributes:
        name: As records and boards name it; also the package that it comes in.
        graph: The file that it reads.
        weights: Pattern of the files that decide the vectors, the graph among them.
        extra: The extra of xlbench that installs it.
    """

    name: str
    graph: str
    weights: str
    extra: str

    def require(self, packages: Sequence[str], problem: str) -> None:
        """Refuse to go on without packages.

        Args:
            packages: What is needed.
            problem: What cannot be done without them, for the error.

        Raises:
            XlbenchError: One is not installed.
        """
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            raise XlbenchError(
                f"{problem}, {' and '.join(missing)} must be installed.", f"Run `pip install 'xlbench[{self.extra}]'`."
            )


ONNX = Runtime("onnxruntime", "model.onnx", "model.onnx*", "onnx")
OPENVINO = Runtime("openvino", "openvino_model.xml", "openvino_model.*", "openvino")
RUNTIMES = (ONNX, OPENVINO)


def runtime_of(path: Path) -> Runtime | None:
    """Return the runtime that an exported encoder's directory is for; None if it holds no graph, or a model too."""
    if any((path / name).is_file() for name in ("modules.json", "config.json")):
        return None
    graphs = (it for it in RUNTIMES if (path / it.graph).is_file())
    return next(graphs, None) if (path / TOKENIZER).is_file() else None


def is_exported(path: Path) -> bool:
    """Return whether a directory holds an exported encoder."""
    return runtime_of(path) is not None


def open_session(path: Path, runtime: Runtime, threads: int) -> Session:
    """Load the graph in a directory; whatever the runtime raises passes through.

    Args:
        path: The directory.
        runtime: What runs it; its package must be installed.
        threads: The number that one call uses.
    """
    kinds: dict[str, type[_OnnxSession | _OpenvinoSession]] = {
        ONNX.name: _OnnxSession,
        OPENVINO.name: _OpenvinoSession,
    }
    return kinds[runtime.name](path / runtime.graph, threads)


class _OnnxSession:
    def __init__(self, graph: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only
        self.session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self.facts: str = self.session.get_modelmeta().custom_metadata_map.get(FACTS, "")

    def __call__(self, features: Features) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self.session.run([OUTPUT], dict(features))[0]
        return vectors


class _OpenvinoSession:
    def __init__(self, graph: Path, threads: int) -> None:
        import openvino

        model = openvino.Core().read_model(graph)
        self.facts = str(model.get_rt_info([FACTS]).value) if model.has_rt_info([FACTS]) else ""
        # Where a CPU has bfloat16 the default is to round all that is not in integers, and vectors would depend on it.
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        self.compiled = openvino.compile_model(model, "CPU", settings)

    def __call__(self, features: Features) -> NDArray[np.float32]:
        # The result is a view of a buffer that the next call overwrites.
        vectors: NDArray[np.float32] = self.compiled(dict(features))[OUTPUT].copy()
        return vectors
