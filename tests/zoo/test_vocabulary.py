"""The words of the study: names are read, resolved to what is stored, and refused with a hint."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upd_zoo import vocabulary
from upd_zoo.errors import UsageError
from upd_zoo.names import ModelId
from upd_zoo.vocabulary import (
    BRAIN_MRI,
    CHEST_XRAY,
    DOMAINS,
    FUNDUS,
    MODALITIES,
    TEST_SETS,
    Access,
    Domain,
    Foreground,
    Framing,
    ScoreRule,
    TestSet,
    get_domain,
    get_test_set,
    has_study_splits,
    read_sets,
)

METHODS = ("vae", "r-vae", "f-anogan", "h-tae-s", "fae", "padim", "cflow-ad", "rd", "amcons", "ccd")
TARGETS = sorted({*DOMAINS, *TEST_SETS})
BACKBONES = (None, "resnet18", "mobilenetv2_100", "wide_resnet50_2", "resnet18.tv_in1k")
REVISIONS = ("main", "seed-1", "0a1b2c3", "v1.0")


@given(
    st.builds(
        ModelId,
        st.sampled_from(METHODS),
        st.sampled_from(BACKBONES),
        st.sampled_from(TARGETS),
        st.booleans(),
        st.sampled_from(REVISIONS),
    )
)
def test_a_written_name_is_read_back(model: ModelId) -> None:
    assert ModelId.parse(str(model)) == model


@given(st.text(st.sampled_from("abrdt-.@_/ 12\n"), max_size=24))
def test_a_name_is_read_exactly_or_refused(text: str) -> None:
    try:
        model = ModelId.parse(text)
    except UsageError:
        return
    assert str(model) == text.removesuffix("@main")


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("rd-brats-t2", "rd-camcan-t2"),
        ("rd-brats-t1", "rd-camcan-t1"),
        ("rd-atlas", "rd-camcan-t1"),
        ("rd-msd-brats-t1", "rd-ixi-t1"),
        ("rd-open-ms-t2", "rd-ixi-t2"),
        ("vae-chexpert-effusion-ccd", "vae-chexpert-ccd"),
        ("h-tae-s-idrid-lesions", "h-tae-s-idrid"),
        ("rd.mobilenetv2_100-phantom-stroke", "rd.mobilenetv2_100-phantom-t1"),
        ("rd-brats-t2@seed-1", "rd-camcan-t2@seed-1"),
        ("cflow-ad-ddr@main", "cflow-ad-ddr"),
    ],
)
def test_names_of_test_sets_lead_to_the_stored_weights(text: str, stored: str) -> None:
    assert str(ModelId.parse(text).canonical) == stored


def test_a_canonical_name_is_its_own_canonical_name() -> None:
    for target in TARGETS:
        canonical = ModelId("rd", None, target).canonical
        assert canonical.canonical == canonical
        assert canonical.target in DOMAINS


def test_the_longest_target_wins() -> None:
    assert ModelId.parse("vae-msd-brats-t2") == ModelId("vae", None, "msd-brats-t2")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rd",
        "-brats-t2",
        "brats-t2",
        "rd.resnet18.a.b-brats-t2",
        "rd/../x-brats-t2",
        "rd-brats-t2@",
        "rd-brats-t2@../main",
        "rd-brats-t2@seed 1",
        "rd-brats-t2@a@b",
        "rd-brats-t2@" + "a" * 65,
        "rd-brats-t2@main\n",
    ],
)
def test_other_names_are_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(UsageError, match=r"<method>\[\.<backbone>\]-<domain or test set>"):
        ModelId.parse(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("rd-brats", "rd-brats-t1 or rd-brats-t2?"),
        ("rd-brats-t3", "rd-brats-t1 or rd-brats-t2?"),
        ("RD-brats-t2", "rd-brats-t2?"),
        ("RD_BraTS_T2@seed-1", "rd-brats-t2?"),
        ("VAE_phantom-t2", "vae-phantom-t2?"),
        ("f_anogan-brats-t2-CCD", "f-anogan-brats-t2-ccd?"),
        ("rd brats-t2", "rd-brats-t2?"),
        ("rd--brats-t2", "rd-brats-t2?"),
        ("rd-brats-t2\n", "rd-brats-t2?"),
        ("rd.-brats-t2", "rd-brats-t2?"),
        ("vae-phantm-t2", "vae-phantom-t2?"),
        ("vea-phantm-t2", "vae-phantom-t2?"),
        ("cflow-chexpert-effuson-ccd", "cflow-ad-chexpert-effusion-ccd?"),
        ("rd.mobilenetv2_100-phantm-t1", "rd.mobilenetv2_100-phantom-t1?"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        ModelId.parse(text)
    assert f"Did you mean {meant}" in str(caught.value)


@pytest.mark.parametrize("find", [get_domain, get_test_set])
def test_letter_case_and_underscores_are_answered_with_the_one_name_meant(
    find: Callable[[str], object],
) -> None:
    with pytest.raises(UsageError, match=r"Did you mean idrid\?"):
        find("IDRiD")
    with pytest.raises(UsageError, match=r"Did you mean phantom-t2\?"):
        find("Phantom_T2")


def test_the_name_of_the_repository_leaves_the_revision_out() -> None:
    assert ModelId.parse("rd.resnet18-idrid-ccd@seed-2").name == "rd.resnet18-idrid-ccd"


def test_every_test_set_has_a_domain_and_every_domain_a_modality() -> None:
    assert all(test_set.domain in DOMAINS for test_set in TEST_SETS.values())
    assert all(MODALITIES[domain.modality.id] is domain.modality for domain in DOMAINS.values())
    assert all(vocabulary.test_sets_of(domain) for domain in DOMAINS), "a model that nothing scores"


def test_identifiers_are_their_keys() -> None:
    for table in (MODALITIES, DOMAINS, TEST_SETS):
        assert all(key == record.id for key, record in table.items())


def test_a_test_set_that_shares_its_name_with_a_domain_belongs_to_it() -> None:
    assert all(TEST_SETS[name].domain == name for name in {*DOMAINS} & {*TEST_SETS})


def test_the_study_scores_brains_and_eyes_by_the_maximum_and_chests_by_the_mean() -> None:
    rules = {modality: (modality.score_rule, modality.foreground) for modality in (BRAIN_MRI, CHEST_XRAY, FUNDUS)}
    assert rules == {
        BRAIN_MRI: (ScoreRule.MAXIMUM, Foreground.ABOVE_MINIMUM),
        CHEST_XRAY: (ScoreRule.MEAN, Foreground.EVERYWHERE),
        FUNDUS: (ScoreRule.MAXIMUM, Foreground.EVERYWHERE),
    }
    assert [modality.channels for modality in rules] == [1, 1, 3]
    assert [modality.framing for modality in rules] == [Framing.SQUARE_SLICES, Framing.STRETCH, Framing.CENTRE_CROP]


def test_only_phantoms_are_synthetic() -> None:
    assert {domain.id for domain in DOMAINS.values() if domain.synthetic} == {
        name for name in DOMAINS if name.startswith("phantom-")
    }


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="camcan-t2"):
        get_domain("camcam-t2")
    with pytest.raises(UsageError, match="brats-t1"):
        get_test_set("bratz-t1")


def test_a_domain_is_no_test_set_unless_it_is_called_one() -> None:
    assert get_test_set("ddr").domain == "ddr"
    with pytest.raises(UsageError):
        get_test_set("camcan-t1")


# The file


OWN = """
[domains.own-t1]
title = "Our scanner, T1"
modality = "brain-mri"
contrast = "T1"
access = "open"
licence = "ours"

[test_sets.own-tumours]
title = "Our tumours"
domain = "own-t1"
has_masks = true
"""


def read_text(folder: Path, text: str) -> tuple[dict[str, Domain], dict[str, TestSet]]:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return read_sets(path)


def test_a_file_of_ones_own_is_read_into_the_same_records(tmp_path: Path) -> None:
    domains, test_sets = read_text(tmp_path, OWN)
    assert domains == {"own-t1": Domain("own-t1", "Our scanner, T1", BRAIN_MRI, Access.OPEN, "ours", "T1")}
    assert test_sets == {"own-tumours": TestSet("own-tumours", "Our tumours", "own-t1", has_masks=True)}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[domains.own-t1]", "[domains.own-t1", "cannot be read"),
        ("[domains.own-t1]", "[models.own-t1]", "'models' in own.toml is no table that is known"),
        ("[domains.own-t1]", "[domains.Own_T1]", "'Own_T1' is no name"),
        ("[domains.own-t1]", "[domains.own-ccd]", "no -ccd"),
        ('title = "Our scanner, T1"', "", "'title' in domains.own-t1 of own.toml is None"),
        ('title = "Our scanner, T1"', "title = 3", "'title' in domains.own-t1 of own.toml is 3"),
        ('"brain-mri"', '"brain-ct"', "'modality' .* is 'brain-ct'. Accepted: brain-mri, chest-xray"),
        ('"open"', '"secret"', "Accepted: agreement, open, synthetic"),
        ('licence = "ours"', 'licence = "ours"\nlicense = "ours"', "has the key 'license'"),
        ('domain = "own-t1"', 'domain = "own-t2"', "'domain' in test_sets.own-tumours .* Accepted: own-t1"),
        ("has_masks = true", 'has_masks = "yes"', "Accepted: true or false"),
    ],
)
def test_a_slip_in_a_file_is_named_with_what_is_accepted(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in OWN
    with pytest.raises(UsageError, match=said):
        read_text(tmp_path, OWN.replace(old, new))


def test_a_test_set_that_is_called_like_another_domain_is_refused(tmp_path: Path) -> None:
    second = OWN.split("[test_sets")[0].replace("own-t1", "own-tumours")
    with pytest.raises(UsageError, match=r"test_sets\.own-tumours"):
        read_text(tmp_path, second + OWN)


def test_the_studys_own_splits_are_known_of_domains_and_of_test_sets() -> None:
    assert all(map(has_study_splits, ("camcan-t1", "chexpert", "chexpert-opacity", "ddr", "atlas")))
    assert not any(map(has_study_splits, ("ixi-t1", "idrid", "idrid-lesions", "phantom-t1", "phantom-stroke")))
