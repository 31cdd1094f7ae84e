"""Promises of the CheXpert reader, on look-alikes with the true layout, one of them with the study's counts."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fake.chexpert import FULL, HEADER, HEALTHY, SMALL, TESTS, Film, people, release_of, write_chexpert, write_table
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.framing import frame
from upd_zoo.images.gate import read_photograph
from upd_zoo.sources.chexpert import CHEXPERT
from upd_zoo.sources.preparation import prepare
from upd_zoo.sources.source import Inputs, Request
from upd_zoo.sources.splits import shuffled
from upd_zoo.stores.places import Part, StoreName, store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import DOMAINS, Framing, Protocol

DOMAIN = DOMAINS["chexpert"]
STUDY, SOUND = Protocol.STUDY, Protocol.SOUND
SEX = {"Female": "F", "Male": "M"}


def listed(root: Path, target: str, part: Part, protocol: Protocol) -> Inputs:
    return CHEXPERT.opened(Request(root))(StoreName(target, part, protocol))


def sexes(names: Inputs, films: list[Film]) -> Counter[str]:
    known = {film.name: film.sex for film in films}
    return Counter(known[name] for name in names)


# The study's choice


@pytest.fixture(scope="module")
def whole() -> list[Film]:
    """Films with the counts of the whole release; of the healthy women, 2446, and of the men, 3000."""
    return release_of({"Female": 2446, "Male": 3000}, {"Female": 492, "Male": 694})


@pytest.fixture(scope="module")
def table(whole: list[Film], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("whole") / SMALL, whole)


def test_the_counts_of_the_study_come_out(table: Path, whole: list[Film]) -> None:
    train, validation = (listed(table, "chexpert", part, STUDY) for part in (Part.TRAIN, Part.VALIDATION))
    assert (len(train), len(validation)) == (4267, 225)
    assert sexes({**train, **validation}, whole) == {"Female": 2246, "Male": 2246}
    tests = {target: listed(table, target, Part.TEST, STUDY) for target in TESTS}
    assert [len(test) for test in tests.values()] == [720, 720, 720]
    assert not {*train, *validation} & {name for test in tests.values() for name in test}


def test_all_anomalies_of_the_study_are_women_and_its_normals_are_not(table: Path, whole: list[Film]) -> None:
    healthy = {film.name for film in whole if film.observations == HEALTHY}
    for target in TESTS:
        test = listed(table, target, Part.TEST, STUDY)
        assert sexes({name: read for name, read in test.items() if name not in healthy}, whole) == {"Female": 360}
        normals = sexes({name: read for name, read in test.items() if name in healthy}, whole)
        assert normals.total() == 360
        assert min(normals["Female"], normals["Male"]) > 150


def test_places_and_permutation_are_those_of_the_study(table: Path, whole: list[Film]) -> None:
    women, men = ([film.name for film in whole[:5446] if film.sex == sex] for sex in SEX)
    rest = shuffled([*women[200:2446], *men[200:2446]])
    assert [*listed(table, "chexpert", Part.TRAIN, STUDY), *listed(table, "chexpert", Part.VALIDATION, STUDY)] == rest
    normals = shuffled([*women[:200], *men[:200]])[:360]
    assert list(listed(table, "chexpert-opacity", Part.TEST, STUDY))[:360] == normals


def few(*films: Film) -> list[Film]:
    """Return 201 healthy people of each sex, and films under test with numbers from 900."""
    return [*people({"Female": 201, "Male": 201}), *films]


@pytest.mark.parametrize(
    ("film", "taken"),
    [
        (Film(900, sex="Male", age="9"), True),
        (Film(900, sex="Male", age="100"), False),
        (Film(900, sex="Male", age="18"), False),
        (Film(900, sex="Male", age="19"), True),
        (Film(900, sex="Male", view="PA"), False),
        (Film(900, sex="Male", plane="Lateral", view=""), False),
        (Film(900, {"No Finding": 1, "Support Devices": 1}, "Male"), False),
        (Film(900, {"No Finding": 1, "Support Devices": -1}, "Male"), True),
        (Film(900, {"No Finding": -1}, "Male"), False),
        (Film(900, sex="Unknown"), False),
    ],
    ids=str,
)
def test_who_is_healthy_in_the_study(tmp_path: Path, film: Film, taken: bool) -> None:
    root = write_table(tmp_path / SMALL, few(Film(899), film))
    names = [name for part in (Part.TRAIN, Part.VALIDATION) for name in listed(root, "chexpert", part, STUDY)]
    assert (film.name in names) == taken
    assert len(names) == (4 if taken else 2)


@pytest.mark.parametrize(
    ("observations", "targets"),
    [
        ({"Pleural Effusion": 1}, {"chexpert-effusion"}),
        ({"Pleural Effusion": -1}, set()),
        ({"Pleural Effusion": 1, "Fracture": 1}, set()),
        ({"Pleural Effusion": 1, "Fracture": -1}, {"chexpert-effusion"}),
        ({"Pleural Effusion": 1, "Edema": 1}, {"chexpert-effusion"}),
        ({"Pleural Effusion": 1, "Lung Opacity": 1}, set()),
        ({"Lung Opacity": 1, "Fracture": 1}, {"chexpert-opacity"}),
        ({"Lung Opacity": 1, "Pleural Effusion": -1}, {"chexpert-opacity"}),
        ({"Enlarged Cardiomediastinum": 1, "Pneumothorax": 1}, {"chexpert-enlarged"}),
        ({"Enlarged Cardiomediastinum": 1, "Support Devices": 1}, set()),
    ],
    ids=str,
)
def test_who_is_diseased_in_the_study(tmp_path: Path, observations: dict[str, int], targets: set[str]) -> None:
    others = [each for sick in TESTS.values() for each in people({"Male": 20}, sick, first=1000)]
    root = write_table(tmp_path / SMALL, few(*(Film(900, observations, study=study) for study in range(20)), *others))
    tests = {target: listed(root, target, Part.TEST, STUDY) for target in TESTS}
    assert {target for target, names in tests.items() if any("/patient00900/" in name for name in names)} == targets


# The sound choice


@pytest.fixture(scope="module")
def crowd() -> list[Film]:
    """Patients with up to three films each: some always healthy, some with each observation, some with both."""
    kinds = [HEALTHY, *TESTS.values(), {"Pleural Effusion": 1, "Lung Opacity": 1}]
    return [
        Film(patient, HEALTHY if study == 1 else kinds[patient % 5], "Female" if patient % 3 else "Male", study=study)
        for patient in range(1, 601)
        for study in (1, 2, 3)
    ]


def test_no_patient_of_the_sound_split_is_in_two_parts(crowd: list[Film], tmp_path: Path) -> None:
    root = write_table(tmp_path / SMALL, crowd)
    names = [listed(root, "chexpert", part, SOUND) for part in (Part.TRAIN, Part.VALIDATION)]
    names.append({name: read for target in TESTS for name, read in listed(root, target, Part.TEST, SOUND).items()})
    patients = [{name.split("/")[1] for name in part} for part in names]
    assert all(patients)
    assert len(set.union(*patients)) == sum(map(len, patients))


def test_sexes_and_health_are_balanced_in_every_sound_store(crowd: list[Film], tmp_path: Path) -> None:
    root = write_table(tmp_path / SMALL, crowd)
    known = {film.name: film for film in crowd}
    for target, part in [("chexpert", Part.TRAIN), ("chexpert", Part.VALIDATION), *((t, Part.TEST) for t in TESTS)]:
        films = [known[name] for name in listed(root, target, part, SOUND)]
        cells = Counter((film.sex, film.observations == HEALTHY) for film in films)
        assert len(cells) == (4 if part is Part.TEST else 2)
        assert len(set(cells.values())) == 1
        assert {tuple(film.observations) for film in films if film.observations != HEALTHY} == (
            {tuple(TESTS[target])} if part is Part.TEST else set()
        )


@pytest.mark.parametrize(
    ("film", "taken"),
    [
        (Film(900, sex="Male", age="9"), False),
        (Film(900, sex="Male", age="18"), True),
        (Film(900, sex="Male", age="100"), True),
        (Film(900, sex="Male", age=""), False),
        (Film(900, {"No Finding": 1, "Fracture": -1}, "Male"), False),
        (Film(900, {"No Finding": 1, "Support Devices": -1}, "Male"), False),
        (Film(900, {"No Finding": 1, "Fracture": 0}, "Male"), True),
        (Film(900, sex="Male", view="PA"), False),
    ],
    ids=str,
)
def test_who_is_healthy_in_the_sound_choice(tmp_path: Path, film: Film, taken: bool) -> None:
    sick = people({"Female": 60, "Male": 60}, TESTS["chexpert-effusion"], first=200)
    root = write_table(tmp_path / SMALL, [*people({"Female": 60}), *sick, film])
    names = [name for part in (Part.TRAIN, Part.VALIDATION) for name in listed(root, "chexpert", part, SOUND)]
    names += listed(root, "chexpert-effusion", Part.TEST, SOUND)
    assert (film.name in names) == taken


# Files


@pytest.fixture(scope="module", params=[SMALL, FULL])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    films = release_of({"Female": 206, "Male": 210}, {"Female": 60, "Male": 60})
    return write_chexpert(tmp_path_factory.mktemp("release") / request.param, films)


def test_both_releases_are_prepared_under_both_protocols_side_by_side(root: Path, tmp_path: Path) -> None:
    for protocol, suffix in ((SOUND, ""), (STUDY, "-study")):
        done = prepare(DOMAIN, tmp_path, Request(root), protocol=protocol)
        assert done.failures == ()
        assert [facts.name for facts in done.stores] == [
            f"chexpert/train{suffix}",
            f"chexpert/validation{suffix}",
            *(f"{target}/test{suffix}" for target in TESTS),
        ]
        for facts in done.stores:
            assert facts.provenance["protocol"] == protocol
            assert ("the study's own split" in facts.labels) == (protocol is STUDY)
    assert len(Store(store_path(tmp_path, "chexpert", "train", STUDY))) == 11
    test = Store(store_path(tmp_path, "chexpert-effusion", "test", STUDY))
    assert (len(test), int(test.anomalous.sum())) == (360 + 108, 108)
    assert {(row["view"], row["age"]) for row in test.index} == {("AP", "60")}
    assert {row["sex"] for row in test.index} == {"F", "M"}


def test_images_are_stretched_as_for_scoring(root: Path) -> None:
    name, read = next(iter(listed(root, "chexpert", Part.TRAIN, SOUND).items()))
    (sample,) = read()
    np.testing.assert_array_equal(sample.image, frame(read_photograph(root / name).data, Framing.STRETCH, 128))


def test_a_truncated_file_and_a_path_out_of_the_folder_are_left_out_alone(tmp_path: Path) -> None:
    root = write_chexpert(tmp_path / SMALL, release_of({"Female": 120, "Male": 120}, {"Female": 40, "Male": 40}))
    first, second, *others = listed(root, "chexpert", Part.TRAIN, SOUND)
    (root / first).write_bytes((root / first).read_bytes()[:-40])
    table = root / "train.csv"
    patient = second.split("/")[1]
    table.write_text(table.read_text().replace(second, f"train/{patient}/../../../secret.jpg"))
    done = prepare(DOMAIN, tmp_path / "data", Request(root))
    assert {failure.error.code for failure in done.failures} == {InputErrorCode.TRUNCATED, InputErrorCode.UNREADABLE}
    assert any("leaves the folder" in str(failure.error) for failure in done.failures)
    assert done.stores[0].images == len(others)


@pytest.mark.parametrize(
    "text",
    [
        "Path,Sex,Age\n",
        HEADER.replace("AP/PA", "View") + "\n",
        f"{HEADER}\n{Film(1).line('MIMIC')}\n",
        f"{HEADER}\n{Film(1).line(SMALL).replace('1.0', '2.0', 2)}\n",
        f"{HEADER}\n{Film(1, {'No Finding': 3}).line(SMALL)}\n",
        f"{HEADER}\n{SMALL}/train/patient00001\n",
    ],
    ids=["few columns", "other column", "other release", "other release name", "other value", "short row"],
)
def test_a_damaged_table_is_refused_with_where_to_get_it(tmp_path: Path, text: str) -> None:
    root = write_table(tmp_path / SMALL, [])
    (root / "train.csv").write_text(text)
    with pytest.raises(InputError, match="agree to its terms") as caught:
        listed(root, "chexpert", Part.TRAIN, STUDY)
    assert caught.value.code is InputErrorCode.CORRUPT
