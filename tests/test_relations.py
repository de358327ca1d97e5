"""Objectives on the states of every token: their arithmetic, the layers that they read, and whole runs with them."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from xlbench import XlbenchError
from xlbench.api import Layer, LayerStates, Loop, MatchHidden, MatchRelations, Plan, Stage, Training, TrimVocabulary
from xlbench.distill.batches import Part
from xlbench.distill.capture import Capture, LiveEncoder, LiveTerms, matching_ids
from xlbench.distill.check import check_plan
from xlbench.distill.plan import stage_keys
from xlbench.students.shape import MINILM, XLMR
from xlbench.students.surgery import build_student, cut_bottleneck, keep_layers, stock_encoder
from xlbench.testing.bench import Bench, CompletedRun, make_bench
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from xlbench.corpora.tokens import TokenTable

STUDENT, ASSISTANT = Layer(), Layer(encoder="assistant")
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])  # two sentences of three and two tokens


def states(width: int, seed: int) -> LayerStates:
    generator = torch.Generator().manual_seed(seed)
    query, key, value, hidden = torch.randn(4, 2, 3, width, generator=generator)
    return LayerStates(query, key, value, hidden, heads=1)


def relation(vectors: np.ndarray, row: int, columns: int) -> list[float]:
    """Return a row of softmax(A A' / sqrt(columns)) for the vectors A of a sentence's tokens in one relation head."""
    scores = [math.exp(float(vectors[row] @ other) / math.sqrt(columns)) for other in vectors]
    return [score / sum(scores) for score in scores]


def test_relations_are_the_mean_divergence_over_kinds_heads_and_real_tokens() -> None:
    student, assistant = states(4, seed=1), states(8, seed=2)  # two relation heads, of two and of four columns
    lengths = MASK.sum(1).tolist()
    divergences = []
    for own, other in zip(student[:3], assistant[:3], strict=True):  # queries, keys, values
        for sentence, length in enumerate(lengths):
            for head in range(2):
                predicted = own[sentence, :length, 2 * head : 2 * head + 2].double().numpy()
                target = other[sentence, :length, 4 * head : 4 * head + 4].double().numpy()
                for row in range(length):
                    rows = zip(relation(target, row, 4), relation(predicted, row, 2), strict=True)
                    divergences.append(sum(p * math.log(p / q) for p, q in rows))
    assert len(divergences) == 3 * 2 * 5
    expected = sum(divergences) / len(divergences)
    assert expected > 0.1
    term = MatchRelations(encoder="assistant", heads=2)
    assert term.loss({STUDENT: student, ASSISTANT: assistant}, MASK).item() == pytest.approx(expected, rel=1e-5)
    double = MatchRelations(encoder="assistant", heads=2, weight=2.0)
    assert double.loss({STUDENT: student, ASSISTANT: assistant}, MASK).item() == pytest.approx(2 * expected, rel=1e-5)


def test_by_default_there_are_four_relation_heads_for_each_attention_head_of_the_encoder() -> None:
    both = {STUDENT: states(8, seed=1), ASSISTANT: states(8, seed=2)}
    values = [MatchRelations(encoder="assistant", heads=heads).loss(both, MASK).item() for heads in (None, 4, 2)]
    assert values[0] == values[1] != values[2]
    with pytest.raises(XlbenchError, match="8 relation heads do not divide a hidden size of 4"):
        MatchRelations(encoder="assistant").loss(
            {STUDENT: states(4, 1), ASSISTANT: states(4, 2)._replace(heads=2)}, MASK
        )


def test_relations_do_not_change_under_a_rotation_within_each_relation_head() -> None:
    assistant = states(4, seed=2)
    rotation = torch.zeros(4, 4)
    rotation[:2, :2] = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    rotation[2:, 2:] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    rotated = LayerStates(
        assistant.query @ rotation, assistant.key @ rotation, assistant.value @ rotation, assistant.hidden, 1
    )
    term = MatchRelations(encoder="assistant", heads=2)
    assert term.loss({STUDENT: rotated, ASSISTANT: assistant}, MASK).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("term", [MatchRelations(encoder="assistant", heads=2), MatchHidden(encoder="assistant")])
def test_padding_has_no_influence_on_loss_or_gradient(term: MatchRelations | MatchHidden) -> None:
    student, assistant = states(4, seed=1), states(4, seed=2)
    before = term.loss({STUDENT: student, ASSISTANT: assistant}, MASK)
    query, key, value, hidden = (tensor.clone() for tensor in student[:4])
    for tensor in (query, key, value, hidden):
        tensor[1, 2] = 1e3
        tensor.requires_grad_()
    changed = LayerStates(query, key, value, hidden, heads=1)
    after = term.loss({STUDENT: changed, ASSISTANT: assistant}, MASK)
    assert after.item() == pytest.approx(before.item(), rel=1e-6)
    after.backward()  # type: ignore[no-untyped-call]
    for tensor in (query, key, value, hidden):
        if tensor.grad is not None:
            assert tensor.grad[1, 2].abs().max() == 0
            assert tensor.grad.abs().max() > 0


def test_hidden_states_are_compared_by_mean_squared_difference_over_tokens_columns_and_pairs() -> None:
    def of(hidden: list[list[list[float]]]) -> LayerStates:
        tensor = torch.tensor(hidden)
        return LayerStates(tensor, tensor, tensor, tensor, 1)

    mask = torch.tensor([[1, 1]])
    inputs = {
        STUDENT: of([[[1.0, 2.0], [0.0, 0.0]]]),
        ASSISTANT: of([[[1.0, 0.0], [0.0, 0.0]]]),  # differences 0 2 0 0: 4 / 4 = 1
        Layer(number=1): of([[[3.0, 0.0], [0.0, 1.0]]]),
        Layer(encoder="assistant", number=2): of([[[0.0, 0.0], [0.0, 0.0]]]),  # differences 3 0 0 1: 10 / 4 = 2.5
    }
    assert MatchHidden(encoder="assistant").loss(inputs, mask).item() == pytest.approx(1.0)
    both = MatchHidden(encoder="assistant", pairs=((-1, -1), (1, 2)), weight=2.0)
    assert both.loss(inputs, mask).item() == pytest.approx(3.5)  # 2 x (1 + 2.5) / 2
    assert both.loss(inputs, torch.tensor([[1, 0]])).item() == pytest.approx(6.5)  # 2 x (4 / 2 + 9 / 2) / 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("relations")
    save_toy_encoder(place / "assistant")
    return place


def toy(place: Path) -> SentenceTransformer:
    return SentenceTransformer(str(place / "assistant"), device="cpu").eval()


def part(*rows: list[int]) -> Part:
    width = max(map(len, rows))
    ids = torch.tensor([row + [1] * (width - len(row)) for row in rows])
    return Part(input_ids=ids, attention_mask=(ids != 1).long())


@pytest.mark.parametrize("looped", [False, True])
def test_layers_are_captured_in_the_order_in_which_they_run(place: Path, looped: bool) -> None:
    model = toy(place)
    if looped:  # two layers that run twice each, and a bottleneck
        student = build_student(model)
        cut_bottleneck(student, 8, np.ones(40))
        keep_layers(student, 2, 2, "spaced")
    encoder = stock_encoder(model)
    capture = Capture(encoder, [-1, 2, 4])
    batch = part([0, 5, 6, 7, 2], [0, 9, 2])
    with torch.no_grad():
        hidden = encoder(**batch, output_hidden_states=True).hidden_states  # those of the embedding layer come first
        encoder(**part([0, 5, 2]))
    first, second = capture.take()
    assert capture.take() == []
    assert set(first) == {-1, 2, 4}
    layers = list(encoder.encoder.layer)
    for number, position in ((-1, 4), (2, 2), (4, 4)):
        torch.testing.assert_close(first[number].hidden, hidden[position])
        query = layers[position - 1].get_submodule("attention.self.query")(hidden[position - 1])
        torch.testing.assert_close(first[number].query, query)
        assert second[number].value.shape == (1, 3, 16)
    assert not torch.equal(first[-1].value, first[2].value)
    capture.remove()
    encoder(**batch)
    assert capture.take() == []


def total(parts: list[Part]) -> int:
    return int(sum(piece["attention_mask"].sum() for piece in parts))


def live(model: SentenceTransformer, encoder: SentenceTransformer) -> LiveTerms:
    terms = (MatchRelations(encoder="assistant"), MatchHidden(encoder="assistant"))
    beside = LiveEncoder(encoder, Capture(stock_encoder(encoder), [-1]), torch.arange(40), "float32")
    return LiveTerms(terms, Capture(stock_encoder(model), [-1]), {"assistant": beside})


def test_a_student_that_equals_the_live_encoder_has_no_loss_and_no_gradient(place: Path) -> None:
    model = toy(place)
    parts = [part([0, 5, 6, 7, 2], [0, 9, 2])]
    terms = live(model, copy.deepcopy(model))

    def loss_and_gradient() -> tuple[list[float], float]:
        model.zero_grad()
        for piece in parts:
            model(dict(piece))
        values = terms.losses(parts, total(parts))
        torch.stack(values).sum().backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad.abs().max() for p in model.parameters() if p.grad is not None]
        return [value.item() for value in values], float(torch.stack(gradients).max())

    values, gradient = loss_and_gradient()
    assert values == pytest.approx([0.0, 0.0], abs=1e-6)
    assert gradient < 1e-6
    with torch.no_grad():
        stock_encoder(model).get_parameter("encoder.layer.3.attention.self.value.weight").mul_(1.5)
    values, gradient = loss_and_gradient()
    assert min(values) > 1e-4
    assert gradient > 1e-4


def test_the_parts_of_a_batch_are_weighted_by_their_tokens(place: Path) -> None:
    model, encoder = toy(place), toy(place)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    terms = live(model, encoder)
    rows = [0, 5, 6, 7, 8, 2], [0, 9, 2], [0, 11, 12, 2]

    def value(parts: list[Part]) -> list[float]:
        for piece in parts:
            model(dict(piece))
        return [term.item() for term in terms.losses(parts, total(parts))]

    whole = value([part(*rows)])
    assert value([part(rows[0]), part(*rows[1:])]) == pytest.approx(whole, rel=1e-4)
    assert min(whole) > 1e-4


def table(*rows: list[int]) -> TokenTable:
    from xlbench.corpora.tokens import TokenTable

    offsets = np.cumsum([0, *map(len, rows)])
    ids = np.array([token for row in rows for token in row], dtype=np.uint32)
    return TokenTable(Path(), "", None, ids, offsets)  # type: ignore[arg-type]


def test_ids_of_another_vocabulary_are_matched_if_sentences_are_split_alike() -> None:
    own, used = table([0, 3, 2], [0, 4, 2]), np.array([0, 1, 2, 3, 4])
    matched = matching_ids(own, table([5, 90, 7], [5, 80, 7]), used)
    assert matched is not None
    assert matched.tolist() == [5, 0, 7, 90, 80]  # the id 1 does not occur and gets 0
    assert matching_ids(own, table([5, 90, 7], [5, 80, 80, 7]), used) is None
    assert matching_ids(own, table([5, 90, 7], [6, 80, 7]), used) is None


def training(*terms: MatchRelations | MatchHidden, **changes: object) -> Training:
    return Training.model_validate({"objectives": terms, "pairs": 64, "seed": 0, **changes})


RELATIONS = MatchRelations(encoder="teacher")
SMALL = MINILM.model_copy(update={"vocabulary": 30_522})
WIDE = XLMR.model_copy(update={"vocabulary": MINILM.vocabulary})


@pytest.mark.parametrize(
    ("settings", "teacher", "message"),
    [
        (training(RELATIONS), None, "'teacher' is no BERT or XLM-R"),
        (training(RELATIONS), SMALL, "'teacher' has a vocabulary of 30,522, the student one of 250,037"),
        (training(RELATIONS, level="embeddings"), MINILM, "trains without encoder layers"),
        (training(MatchRelations(encoder="teacher", layer=13)), MINILM, "Layer 13 of 'teacher' .* runs 12"),
        (training(MatchRelations(encoder="teacher", layer=0)), MINILM, "Layer 0 of 'teacher'"),
        (training(MatchRelations(encoder="teacher", student_layer=5)), MINILM, "Layer 5 of the student .* runs 4"),
        (training(MatchRelations(encoder="teacher", heads=5)), MINILM, "5 relation heads do not divide .* 384"),
        (training(MatchHidden(encoder="teacher")), WIDE, "width 384 and 768"),
        (training(MatchRelations(encoder="nowhere")), MINILM, "reads 'nowhere', which no earlier stage makes"),
    ],
)
def test_encoders_that_cannot_be_compared_token_by_token_are_refused_before_anything_runs(
    settings: Training, teacher: object, message: str
) -> None:
    stage = Stage("cut", "assistant", (Loop(layers=2, repeats=2),), settings)
    shapes = {"assistant": MINILM} if teacher is None else {"assistant": MINILM, "teacher": teacher}
    with pytest.raises(XlbenchError, match=f"'cut'.*{message}"):
        check_plan(Plan((stage,), "cut"), shapes, {"teacher": 384, "assistant": 384})  # type: ignore[arg-type]


def test_relations_fit_encoders_of_another_width_and_a_trimmed_vocabulary() -> None:
    shapes, widths = {"assistant": MINILM, "teacher": WIDE}, {"assistant": 384, "teacher": 768}
    stage = Stage("cut", "assistant", (TrimVocabulary(), Loop(layers=2, repeats=2)), training(RELATIONS))
    check_plan(Plan((stage,), "cut"), shapes, widths)


def test_live_encoders_and_their_layers_are_part_of_a_stages_fingerprint() -> None:
    def key(term: MatchRelations | MatchHidden, teacher: str = "t1") -> str:
        stage = Stage("cut", "assistant", (), training(term))
        assert stage.inputs() == ("assistant", "teacher")
        return stage_keys(Plan((stage,), "cut"), {"teacher": teacher, "assistant": "a1"}, "d", "float32")["cut"]

    others = [MatchRelations(encoder="teacher", layer=3), MatchRelations(encoder="teacher", heads=2)]
    keys = [key(RELATIONS), key(RELATIONS, "t2"), *map(key, others), key(MatchHidden(encoder="teacher"))]
    assert len(set(keys)) == len(keys)


def test_an_objective_must_have_a_loss() -> None:
    with pytest.raises(ValueError, match="Layer has no loss"):
        training(Layer())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


def run(bench: Bench, method: str, options: dict[str, object], home: str = "home", **changes: object) -> CompletedRun:
    options = {"batch_size": 32, "evaluations": 2, **options}
    return bench.run(method, bench.place / home, {"options": options, **changes})


@pytest.fixture(scope="module")
def whole(bench: Bench) -> CompletedRun:
    """An undisturbed run."""
    return run(bench, "minilmv2", {})


def losses(ran: CompletedRun, stage: str) -> list[float]:
    (outcome,) = (it for it in ran.distilled.stages if it.name == stage)
    return [evaluation["loss"] for evaluation in outcome.evaluations]


def test_minilmv2_learns_relations_and_then_the_teachers_vectors(whole: CompletedRun) -> None:
    assert [(stage.name, stage.pairs) for stage in whole.distilled.stages] == [
        ("teacher-centred", 0),
        ("alignment", 128),
        ("aligned", 0),
        ("relations", 256),
        ("contrastive", 256),
    ]
    assert losses(whole, "relations")[-1] < 0.95 * losses(whole, "relations")[0]
    assert losses(whole, "contrastive")[-1] < losses(whole, "contrastive")[0]


@pytest.mark.parametrize("trim", [False, True])
def test_a_full_size_student_starts_with_the_relations_of_its_assistant(bench: Bench, trim: bool) -> None:
    # The student's token ids differ from the assistant's, because it trains on the used rows alone, trimmed or not.
    # The learning rate is tiny because Adam would make full steps even of rounding errors.
    options: dict[str, object] = {"trim": trim, "relation_share": 1.0, "relation_heads": 2, "learning_rate": 1e-9}
    ran = run(bench, "minilmv2", options, student={"bottleneck": None, "layers": 4, "repeats": 1}, student_pairs=64)
    assert ran.plan.result == "relations"
    assert losses(ran, "relations")[0] == pytest.approx(0.0, abs=1e-6)
    other_layer = run(
        bench, "minilmv2", {**options, "relation_layer": 3}, student={"bottleneck": None}, student_pairs=64
    )
    assert losses(other_layer, "relations")[0] > 0.01


def test_a_layer_that_the_assistant_does_not_have_is_refused(bench: Bench) -> None:
    with pytest.raises(XlbenchError, match="'relations': Layer 5 of 'aligned' cannot be read, it runs 4"):
        run(bench, "minilmv2", {"relation_layer": 5})


def test_the_dev_loss_of_stage_3_includes_the_hidden_states(bench: Bench) -> None:
    without, once, twice = (
        losses(run(bench, "multistage", {"recurrent_hidden_weight": weight}, student_pairs=64), "recurrent")[0]
        for weight in (0.0, 1.0, 2.0)
    )
    assert once - without > 0.01
    assert twice - once == pytest.approx(once - without, rel=1e-3)  # before training, so the same student


def test_a_stage_with_a_live_encoder_resumes_to_the_same_weights(
    bench: Bench, whole: CompletedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, steps = LiveTerms.losses, []

    def killed(self: LiveTerms, parts: list[Part], total: int) -> list[torch.Tensor]:
        if self.terms and not torch.is_inference_mode_enabled():  # not in an evaluation
            steps.append(len(parts))
            if len(steps) == 6:  # of eight, two steps after the checkpoint
                raise KeyboardInterrupt
        return real(self, parts, total)

    monkeypatch.setattr(LiveTerms, "losses", killed)
    with pytest.raises(KeyboardInterrupt):
        run(bench, "minilmv2", {}, "killed")
    again = run(bench, "minilmv2", {}, "killed")
    assert len(steps) == 6 + 4
    one, two = (load_file(ran.artifact / "model.safetensors") for ran in (whole, again))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
