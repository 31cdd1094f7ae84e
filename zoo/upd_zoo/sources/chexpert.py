"""CheXpert: chest radiographs of one hospital, each report read by a program for fourteen observations.

    CheXpert-v1.0/       or CheXpert-v1.0-small/: this folder, whatever it is called, is the root
        train.csv        Path, Sex, Age, Frontal/Lateral, AP/PA, and fourteen observations
        train/patient00001/study1/view1_frontal.jpg

Every path of the table begins with the name of its release. An observation is 1 (positive), 0 (negative), -1
(uncertain) or empty (not mentioned). The hand-labelled `valid.csv` is not used.

Both protocols take frontal AP images of either sex without support devices, and the three test sets share their healthy
images. `study` repeats the study's choice, by text and by place in lists:

    age          text after '18' in the alphabet: '9' passes, '100' and '18' do not
    healthy      No Finding positive; both sexes cut to the shorter list
    diseased     the observation positive; for effusion none of five others, for the rest none of the two other tests
    normal test  the first 200 of each sex
    training     the rest, women first, permuted, 95 % and 5 %
    anomalies    women, then men, the first 400: all are women where there are so many
    test         normal and diseased each permuted, 90 %; the other 10 %, which the study only logs, is in no store

On the whole release this gives 4267, 225 and 720 images. Patients recur, and nothing keeps one out of both training and
test. Uncertain counts as not positive. `sound`:

    age          a number from 18
    healthy      No Finding positive, and no observation positive or uncertain beside it
    diseased     exactly one of the three observations positive
    split        by a hash of the patient; what is diseased outside of the test is not used
    sexes        as many women as men, in training as among the healthy and the diseased of a test, and as many healthy
                 as diseased; who is left out is decided by a hash of the image

What to know of the data:
    The labels were mined from reports; nobody looked at the images for them.
    The study's cells that chose opacity and enlarged are lost, and its cell for effusion asks for PA while it writes a
    list called AP. Here AP is taken, and for the first two the rule that the study's section V states.
    It is assumed that each permutation starts from the seed anew.

References:
    Irvin et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison", AAAI 2019.
    Study, section V-A; cards/study.md, section 5.5.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from upd_zoo.sources.radiographs import Radiograph
from upd_zoo.sources.source import FolderSource, Inputs
from upd_zoo.sources.splits import cut, part_of, position, shuffled
from upd_zoo.sources.tables import age_of, damaged, read_table, sex_of
from upd_zoo.stores.places import Part, StoreName
from upd_zoo.vocabulary import DOMAINS, Protocol

SHARES: Final = {Part.TRAIN: 0.70, Part.VALIDATION: 0.05, Part.TEST: 0.25}
"""How the sound protocol divides the patients."""
SALT: Final = "upd-zoo/chexpert"

_DOMAIN: Final = DOMAINS["chexpert"]
_TABLE: Final = "train.csv"
_RELEASES: Final = ("CheXpert-v1.0", "CheXpert-v1.0-small")
_PATH, _SEX, _AGE, _PLANE, _VIEW = "Path", "Sex", "Age", "Frontal/Lateral", "AP/PA"
_HEALTHY, _DEVICES = "No Finding", "Support Devices"
_EFFUSION, _OPACITY, _ENLARGED = "Pleural Effusion", "Lung Opacity", "Enlarged Cardiomediastinum"
_TESTS: Final = {"chexpert-effusion": _EFFUSION, "chexpert-opacity": _OPACITY, "chexpert-enlarged": _ENLARGED}
_OTHERS: Final = (
    *("Cardiomegaly", "Lung Lesion", "Edema", "Consolidation", "Pneumonia"),
    *("Atelectasis", "Pneumothorax", "Pleural Other", "Fracture"),
)
_OBSERVATIONS: Final = (_HEALTHY, *_TESTS.values(), *_OTHERS, _DEVICES)
_NOT_BESIDE_EFFUSION: Final = frozenset({_ENLARGED, _OPACITY, "Fracture", "Pleural Other", "Pneumothorax"})

_SEXES: Final = ("F", "M")
_ADULT: Final = 18
_TEST_NORMALS: Final = 200
"""Healthy test images of each sex in the study."""
_TEST_ANOMALIES: Final = 400
_ORIGIN: Final = "agree to its terms and get 'CheXpert-v1.0-small' or 'CheXpert-v1.0' from aimi.stanford.edu/datasets"
_EXPECTED: Final = (_TABLE, "train")


@dataclass(frozen=True, slots=True)
class _Film:
    """A row of the table, as it is written.

    Attributes:
        name: File relative to the root.
        patient: Second folder of the file.
        positive: Observations that are 1.
        uncertain: Observations that are -1.
    """

    name: str
    patient: str
    sex: str
    age: str
    view: str
    frontal: bool
    positive: frozenset[str]
    uncertain: frozenset[str]

    def radiograph(self, healthy: bool) -> Radiograph:
        """Return what is read of it."""
        return Radiograph(self.name, self.patient, healthy, self.sex, age_of(self.age), self.view)


def _find(store: StoreName, root: Path) -> Inputs:
    choose = _of_the_study if store.protocol is Protocol.STUDY else _of_the_sound
    films = [film for film in _films(root) if film.frontal and film.view == "AP" and film.sex in _SEXES]
    chosen = choose(store, films)
    return {radiograph.name: partial(radiograph.read, root, store.side) for radiograph in chosen}


def _films(root: Path) -> Iterator[_Film]:
    """Yield the rows of the table, in its order."""
    for row in read_table(root / _TABLE, (_PATH, _SEX, _AGE, _PLANE, _VIEW, *_OBSERVATIONS), _ORIGIN):
        release, _, name = row[_PATH].partition("/")
        if release not in _RELEASES or name.count("/") < 2:
            accepted = f"paths such as '{_RELEASES[1]}/train/patient00001/study1/view1_frontal.jpg'"
            raise damaged(root / _TABLE, f"has the path '{row[_PATH]}'", accepted, _ORIGIN)
        stated = {label: _stated(row[label], root) for label in _OBSERVATIONS}
        yield _Film(
            name,
            name.split("/")[1],
            sex_of(row[_SEX]),
            row[_AGE],
            row[_VIEW],
            row[_PLANE] == "Frontal",
            frozenset(label for label, value in stated.items() if value == 1),
            frozenset(label for label, value in stated.items() if value == -1),
        )


def _stated(text: str, root: Path) -> int:
    """Return 1, 0 or -1; what is not mentioned is 0."""
    if text not in {"", "1.0", "0.0", "-1.0", "1", "0", "-1"}:
        raise damaged(root / _TABLE, f"has an observation '{text}'", "1.0, 0.0, -1.0 or nothing", _ORIGIN)
    return int(float(text or 0))


# The study's choice


def _of_the_study(store: StoreName, films: Sequence[_Film]) -> list[Radiograph]:
    films = [film for film in films if film.age > "18" and _DEVICES not in film.positive]
    women, men = ([film for film in films if film.sex == sex and _HEALTHY in film.positive] for sex in _SEXES)
    length = min(len(women), len(men))
    if store.part is not Part.TEST:
        rest = [*women[_TEST_NORMALS:length], *men[_TEST_NORMALS:length]]
        train, validation = cut(shuffled(rest), 95)
        return [film.radiograph(healthy=True) for film in (train if store.part is Part.TRAIN else validation)]
    normals = [*women[:length][:_TEST_NORMALS], *men[:length][:_TEST_NORMALS]]
    anomalies = [film for sex in _SEXES for film in films if film.sex == sex and _shows(store.target, film)]
    return [
        *(film.radiograph(healthy=True) for film in cut(shuffled(normals), 90)[0]),
        *(film.radiograph(healthy=False) for film in cut(shuffled(anomalies[:_TEST_ANOMALIES]), 90)[0]),
    ]


def _shows(test_set: str, film: _Film) -> bool:
    """Return whether the study takes an image as diseased."""
    sought = _TESTS[test_set]
    excluded = _NOT_BESIDE_EFFUSION if sought == _EFFUSION else frozenset(_TESTS.values()) - {sought}
    return sought in film.positive and not excluded & film.positive


# The sound choice


def _of_the_sound(store: StoreName, films: Sequence[_Film]) -> list[Radiograph]:
    films = [film for film in films if _is_sound(film) and part_of(film.patient, SHARES, SALT) is store.part]
    groups = [[film.radiograph(healthy=True) for film in films if _is_healthy(film)]]
    if store.part is Part.TEST:
        groups.append([film.radiograph(healthy=False) for film in films if _has_only(_TESTS[store.target], film)])
    return _balanced(groups)


def _is_sound(film: _Film) -> bool:
    age = age_of(film.age)
    return age is not None and age >= _ADULT and _DEVICES not in film.positive | film.uncertain


def _is_healthy(film: _Film) -> bool:
    return film.positive == {_HEALTHY} and not film.uncertain


def _has_only(observation: str, film: _Film) -> bool:
    return film.positive & {*_TESTS.values()} == {observation}


def _balanced(groups: Sequence[Sequence[Radiograph]]) -> list[Radiograph]:
    """Return as many women as men of every group, each as many as the smallest has, in the order of their hashes."""
    cells = [[image for image in group if image.sex == sex] for group in groups for sex in _SEXES]
    for cell in cells:
        cell.sort(key=lambda image: position(image.name, SALT))
    smallest = min(map(len, cells))
    return [image for cell in cells for image in cell[:smallest]]


CHEXPERT: Final = FolderSource(
    "chexpert",
    "CheXpert",
    (_DOMAIN.id, *_TESTS),
    "CheXpert, labels mined from reports",
    origin=_ORIGIN,
    expected=_EXPECTED,
    find=_find,
)
