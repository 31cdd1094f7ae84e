"""Domains of one's own: kept beside the stores, and never mistaken for those that mean the same everywhere."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from upd_zoo.artefact.records import OwnImages
from upd_zoo.errors import UsageError
from upd_zoo.names import ModelId
from upd_zoo.recipe import FULL_PROFILE, LIGHT_PROFILE, load_recipe, usual_profile
from upd_zoo.roster import own_methods
from upd_zoo.stores.domains import FILE, UNNAMED, add_own, adopt, check_own_name, know_own, read_own
from upd_zoo.vocabulary import DOMAINS, FUNDUS, TEST_SETS, Access, Domain, TestSet, get_domain, get_test_set

CLINIC = Domain("clinic", 'Own images, "clinic" and ü', FUNDUS, Access.OWN, "known to their owner")
TESTED = TestSet("clinic", "Clinic, with lesions", "clinic", has_masks=True)


@pytest.fixture(autouse=True)
def leave_nothing_behind(tmp_path: Path) -> Iterator[None]:
    yield
    adopt(tmp_path / "nothing")


def test_what_is_written_is_read_and_known_until_another_folder_is_adopted(tmp_path: Path) -> None:
    listed = {*DOMAINS}, {*TEST_SETS}
    add_own(tmp_path / "data", CLINIC, [TESTED])
    assert read_own(tmp_path / "data") == ({"clinic": CLINIC}, {"clinic": TESTED})
    assert (get_domain("clinic"), get_test_set("clinic")) == (CLINIC, TESTED)
    assert ModelId.parse("padim-clinic").domain is get_domain("clinic")
    adopt(tmp_path / "other")
    assert ({*DOMAINS}, {*TEST_SETS}) == listed
    with pytest.raises(UsageError, match="no known domain"):
        ModelId.parse("padim-clinic")


def test_a_domain_takes_the_place_of_what_had_its_name_and_leaves_the_others(tmp_path: Path) -> None:
    other = Domain("ward-2", "Own images, ward-2", FUNDUS, Access.OWN, "known to their owner")
    add_own(tmp_path, CLINIC, [TESTED])
    add_own(tmp_path, other, [])
    add_own(tmp_path, CLINIC, [])
    assert read_own(tmp_path) == ({"clinic": CLINIC, "ward-2": other}, {})
    assert "clinic" not in TEST_SETS


@pytest.mark.parametrize("name", ["idrid", "my-idrid", "phantom-t2", "new-brats-t2", "Clinic", "a_b", "", "x-ccd"])
def test_no_own_name_can_be_taken_for_one_that_means_the_same_everywhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="Accepted: a name of its own") as refused:
        check_own_name(name)
    assert "such as clinic" in str(refused.value)
    (tmp_path / FILE).write_text(f'[domains.{name or "idrid"}]\ntitle = "x"\n', encoding="utf-8")
    with pytest.raises(UsageError):
        adopt(tmp_path)
    assert get_domain("idrid").access is Access.OPEN


def test_the_facts_of_a_domain_travel_only_where_its_name_does_not_say_them() -> None:
    facts = OwnImages.of(CLINIC)
    assert facts is not None
    assert (facts.title, facts.modality, facts.licence) == (CLINIC.title, "fundus", CLINIC.licence)
    assert OwnImages.of(get_domain("idrid")) is None


@pytest.mark.parametrize("method", own_methods())
def test_a_folder_that_is_just_given_is_learnt_from_on_a_processors_budget_where_there_is_one(
    method: str, tmp_path: Path
) -> None:
    adopt(tmp_path)
    know_own(CLINIC)
    know_own(replace(CLINIC, id=UNNAMED))
    given, named, listed = (ModelId.parse(f"{method}-{domain}") for domain in (UNNAMED, CLINIC.id, "idrid"))
    assert usual_profile(named) == usual_profile(listed) == FULL_PROFILE
    try:
        load_recipe(listed, profile=LIGHT_PROFILE)
    except UsageError:
        assert usual_profile(given) == FULL_PROFILE
    else:
        assert usual_profile(given) == LIGHT_PROFILE
