"""Published rows: what ships with xlbench, which of it a board takes, and that it is the data's own."""

from __future__ import annotations

import pytest

from xlbench import XlbenchError
from xlbench.plugins.registry import load_registry
from xlbench.records.published import published_data, published_row
from xlbench.scoring.scores import SubsetScores, TaskScores

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
STS17_REVISION = "faeb762787bd10488a50c8b5be4a3b82e411949c"  # as mteb 2.26 declares it


def task(*subsets: str, data: str = "sha256:0") -> TaskScores:
    cells = {name: SubsetScores(items=250, main=50.0, metrics={}) for name in subsets}
    return TaskScores(family="sts", split="test", metric="cosine_spearman", data=data, subsets=cells)


def test_the_shipped_scores_have_a_citation_and_are_of_the_paper_suite() -> None:
    data = published_data()
    assert data.citation == "github.com/embeddings-benchmark/results"
    assert len(data.commit) == 40
    paper = {ref.task: set(ref.subsets) for ref in load_registry().suites["paper"].tasks}
    assert len(data.models) == 14
    for model in data.models.values():
        for name, published in model.tasks.items():
            assert set(published.scores) <= paper[name]
            assert all(-100 <= score <= 100 for score in published.scores.values())


def test_a_row_has_the_subsets_of_the_board_and_no_others() -> None:
    row = published_row(MINILM, {"STS17": task("en-en", "es-es", "xx-xx"), "Elsewhere": task("a")})
    assert list(row.scores) == ["STS17"]
    # As MTEB's results repository has them at that commit.
    assert row.scores["STS17"] == {"en-en": 87.59, "es-es": 76.12}
    assert (row.name, row.citation, row.commit) == (MINILM, published_data().citation, published_data().commit)
    # 30,522 words, 512 positions, 2 types and a norm; six layers of 1,774,464 each; the pooler.
    assert row.parameters == (30_522 + 512 + 2 + 2) * 384 + 6 * 1_774_464 + 385 * 384


def test_scores_on_another_revision_of_the_data_are_left_out() -> None:
    same = task("en-en", data=f"mteb/sts17-crosslingual-sts@{STS17_REVISION}")
    other = task("en-en", data="mteb/sts17-crosslingual-sts@0000000")
    assert published_row(MINILM, {"STS17": same}).scores.keys() == {"STS17"}
    with pytest.raises(XlbenchError, match="other subsets or other data"):
        published_row(MINILM, {"STS17": other})


def test_a_model_or_suite_without_published_scores_is_refused() -> None:
    with pytest.raises(XlbenchError, match="Did you mean sentence-transformers/all-MiniLM-L6-v2"):
        published_row("sentence-transformers/all-MiniLM-L6", {"STS17": task("en-en")})
    with pytest.raises(XlbenchError, match=r"no published scores of .* on StarterSTS") as caught:
        published_row(MINILM, {"StarterSTS": task("en-en")})
    assert "STS17" in caught.value.remedy
