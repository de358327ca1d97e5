"""What xlbench promises of a method, one test each, on toy encoders and a toy corpus.

Collected by ``pytest --xlbench-method NAME``. A method is trained once for all the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from xlbench.errors import XlbenchError
from xlbench.plugins.checks import option_faults
from xlbench.testing.bench import CANARIES, PROBE, make_bench
from xlbench.testing.children import encode_plainly, in_child, start_server
from xlbench.testing.guard import watch
from xlbench.testing.knobs import merge_changes
from xlbench.testing.plugin import plugin_files, requested_methods
from xlbench.testing.trial import Trial, differing, files, keys_of

if TYPE_CHECKING:
    from xlbench.testing.bench import Bench

COLLAPSED = 0.98  # mean cosine of different sentences above which an encoder counts as collapsed
EQUAL = 1e-6  # largest difference of a coordinate of unit vectors


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test for every method that was asked for."""
    metafunc.parametrize("trial", requested_methods(metafunc.config), indirect=True, scope="module")


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Bench:
    """Toy encoders and a toy corpus, shared by all methods."""
    import xlbench.testing.preload  # noqa: F401

    start_server()
    return make_bench(tmp_path_factory.mktemp("bench"), plugin_files(pytestconfig))


@pytest.fixture(scope="module")
def trial(request: pytest.FixtureRequest, bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """The trial of one method, whose runs its tests share."""
    return Trial(bench, request.param, tmp_path_factory.mktemp("trial"))


def test_options_are_validated_documented_and_serialisable(trial: Trial) -> None:
    """Unknown names are refused; every option has a type, a default, a description, and if a number a bound."""
    faults = [f"{fault.cause} ({fault.where})" for fault in option_faults(trial.method.options)]
    assert not faults, "\n".join(faults)


def test_the_plan_is_valid_and_always_the_same(trial: Trial) -> None:
    """Names and shapes fit together, with any teacher; plan() reads no data and is the same in any process."""
    experiment = trial.experiment
    with watch(trial.bench.place) as seen:
        plan = trial.plan(experiment)
    assert not seen.opened, f"{trial.name}'s plan() reads data or loads weights:\n" + "\n".join(seen.opened)
    trial.declared_shapes(experiment, plan)
    read = {encoder for stage in plan.stages for encoder in stage.inputs()} | {
        plan.result,
        plan.teacher,
        plan.assistant,
    }
    unread = [stage.name for stage in plan.stages if stage.name not in read]
    assert not unread, f"nothing reads the stages {', '.join(unread)}"
    if trial.method.student:
        assert plan.stage(plan.result), f"the result '{plan.result}' is no stage: it makes no student (student=False)"
    for teachers in (["teacher"], ["assistant", "teacher"]):
        other, _ = trial.bench.experiment(trial.name, {"teacher": teachers})
        try:
            other_plan = trial.plan(other)
        except XlbenchError:  # a method may refuse teachers
            continue
        trial.declared_shapes(other, other_plan)
    keys = trial.keys(experiment)
    assert trial.keys(experiment) == keys, "plan() gives another plan when it is called again"
    elsewhere = in_child(keys_of, trial.bench, trial.name)
    assert elsewhere == keys, "plan() gives another plan in another process: does it iterate over a set?"


def test_it_runs_without_a_network(trial: Trial) -> None:
    """It trains on the toys and asks the network for nothing."""
    if isinstance(trial.outcome, Exception):
        raise trial.outcome
    asked = trial.outcome.seen.network
    assert not asked, f"{trial.name} asks the network for:\n" + "\n".join(asked)


def test_it_never_touches_evaluation_data(trial: Trial) -> None:
    """It trains on pairs of the harness, free of the suite's sentences; it opens no file of suite or corpus."""
    canaries = {text for line in CANARIES.read_text("utf-8").splitlines() for text in line.split("\t")[:2]}
    ran = trial.ran
    assert canaries.isdisjoint(ran.corpus.sentences)
    assert not ran.seen.opened, f"{trial.name} reads sentences of the suite from:\n" + "\n".join(ran.seen.opened)


def test_the_fingerprint_changes_with_what_matters_and_not_otherwise(trial: Trial) -> None:
    """Renaming changes no fingerprint; what changes no fingerprint changes no byte of the artifact."""
    assert trial.ran.plan
    base = trial.keys(trial.experiment)[""]
    changed = [part for part, key in trial.renamed().items() if key != base]
    assert not changed, f"the fingerprint changes with the name of the {', '.join(changed)}"
    if not trial.method.student:
        return
    unchanged = trial.same_key()
    changes = merge_changes(unchanged.values())
    if not changes or trial.keys(trial.bench.experiment(trial.name, changes)[0])[""] != base:
        return
    ran = trial.again("unchanged", changes)
    differ = differing(trial.trained.artifact, ran.artifact)
    assert not differ, (
        f"the artifact changes ({', '.join(differ)}) while its fingerprint stays, when these change together: "
        f"{', '.join(unchanged)}. What a stage does must be in its edits' and objectives' fields."
    )


def test_every_option_changes_something(trial: Trial) -> None:
    """Some other value of each option gives another result, if not with the defaults then with other settings."""
    unknown = [name for name, values in trial.values.items() if not values]
    remedy = "name one in its Field(examples=[...])"
    assert not unknown, f"the kit finds no other valid value of {trial.name}'s options {', '.join(unknown)}: {remedy}"
    tried = [f"{name} (tried: {', '.join(map(str, trial.values[name]))})" for name in trial.inert()]
    assert not tried, (
        f"options of {trial.name} that change no fingerprint, whatever the other options, the student spec and the "
        f"teachers are: {'; '.join(tried)}. Leave them out, or let the plan use them."
    )


def test_it_can_be_stored_in_eight_bits(trial: Trial) -> None:
    """With ``--bits 8`` the student has another fingerprint, loads, and has the declared size."""
    from xlbench.students.load import load_student
    from xlbench.students.quantised import count_parameters
    from xlbench.students.shape import TRANSFORMERS
    from xlbench.students.surgery import encoder_shape

    whole = trial.trained
    experiment, _ = trial.bench.experiment(trial.name, {"bits": 8})
    if trial.declared_shapes(trial.experiment, whole.plan)[whole.plan.result].architecture not in TRANSFORMERS:
        with pytest.raises(XlbenchError, match="8 bits"):
            trial.quantised()
        return
    assert trial.keys(experiment)[""] != trial.keys(trial.experiment)[""]
    small = trial.quantised()
    declared = trial.declared_shapes(experiment, small.plan)[small.plan.result]
    model = load_student(small.artifact)
    made = encoder_shape(model)
    assert made.bits == 8
    assert declared.admits(made), f"reshape() declares {declared}, the artifact is {made}"
    assert made.parameters == count_parameters(model)
    assert files(small.artifact) != files(whole.artifact)


def test_the_same_seed_gives_the_same_artifact(trial: Trial) -> None:
    """To the byte, in all stages, whatever other random numbers were drawn before."""
    first = trial.trained.distilled.paths
    second = trial.again("second").distilled.paths
    differ = [f"{stage}: {', '.join(names)}" for stage in first if (names := differing(first[stage], second[stage]))]
    assert not differ, "files that differ by stage:\n" + "\n".join(differ)


def test_it_resumes_after_a_kill(trial: Trial) -> None:
    """Killed between stages and inside the last one, it goes on from there and ends with the same bytes."""
    first = trial.trained.distilled.paths
    keys, notes, done = trial.killed_and_resumed()
    remade = [name for name in done if not any(note.startswith(f"stage {name}: from the store") for note in notes)]
    assert not remade, f"made again after the kill: {', '.join(remade)}"
    stages = trial.home / "killed" / "stages"
    differ = [name for name, path in first.items() if differing(path, stages / keys[name] / path.name)]
    assert not differ, f"after a kill these stages are not the same: {', '.join(differ)}"


def test_the_artifact_loads_with_plain_sentence_transformers(trial: Trial) -> None:
    """In a process that has imported only xlbench, with the vectors that it had when it was saved."""
    ran = trial.trained
    plain = in_child(encode_plainly, ran.artifact, PROBE, trial.bench.threads)
    assert plain is not None, "the process that loads it died"
    before = ran.vectors[ran.distilled.keys[ran.plan.result]]
    assert plain.shape == before.shape
    worst = float(np.abs(plain - before).max())
    assert worst <= EQUAL, f"vectors differ by up to {worst:.2g} from those before saving"


def test_embeddings_are_finite_and_not_collapsed(trial: Trial) -> None:
    """No NaN, no infinity, no zero vector, and different sentences have different vectors."""
    ran = trial.trained
    vectors = ran.vectors[ran.distilled.keys[ran.plan.result]].astype(np.float64)
    assert np.isfinite(vectors).all(), "there are vectors with NaN or infinity"
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    assert (lengths > 0).all(), "there are zero vectors"
    unit = vectors / lengths
    count = len(unit)
    mean_cosine = (np.square(unit.sum(axis=0)).sum() - count) / (count * (count - 1))
    assert mean_cosine < COLLAPSED, f"different sentences have a mean cosine of {mean_cosine:.3f}"


def test_the_declared_size_is_the_counted_size(trial: Trial) -> None:
    """What the edits' reshape() says is what the artifact has: parameters, widths, layers."""
    from xlbench.students.load import load_student
    from xlbench.students.quantised import count_parameters
    from xlbench.students.surgery import encoder_shape

    if isinstance(trial.outcome, XlbenchError) and "reshape" in trial.outcome.remedy:
        raise trial.outcome  # the engine found it before, after one of the edits
    ran = trial.trained
    declared = trial.declared_shapes(trial.experiment, ran.plan)[ran.plan.result]
    model = load_student(ran.artifact)
    made = encoder_shape(model)
    assert declared.admits(made), f"reshape() declares {declared}, the artifact is {made}"
    counted = count_parameters(model)
    assert made.parameters == counted, f"the artifact has {counted:,} parameters, its shape has {made.parameters:,}"
