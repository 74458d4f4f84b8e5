"""The words of labels, as the search has them: kept with every way in which a label begins, changes and ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding import registry, search
from onboarding.models import Device, DeviceWord
from tests.factories import ACTOR, OWN, make_device, make_fields, make_mac, make_organization, make_profile


def words(device: Device) -> set[str]:
    return {bytes(word).decode() for word in DeviceWord.objects.filter(device=device).values_list("word", flat=True)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Reception", ["reception"]),
        ("Müller's Büro 2", ["2", "buro", "muller", "s"]),
        ("a_b-c.d", ["a", "b", "c", "d"]),
        ("STRASSE straße", ["strasse"]),
        ("ﬁne", ["fine"]),
        ("Приёмная №5", ["no5", "приемная"]),
        ("room room", ["room"]),
    ],
)
def test_a_text_has_these_words(text: str, expected: list[str]) -> None:
    assert [word.decode() for word in search.words(text)] == expected


@given(st.text(max_size=120))
def test_every_text_has_bounded_words(text: str) -> None:
    assert all(0 < len(word) <= search.MAX_WORD_OCTETS for word in search.words(text))


@given(st.text(max_size=60))
def test_case_makes_no_difference(text: str) -> None:
    assert search.words(text.casefold()) == search.words(text)


@pytest.mark.django_db
def test_words_follow_the_label_from_the_claim_to_the_release(at: object) -> None:
    device = make_device(label="Reception Zürich")
    assert words(device) == {"reception", "zurich"}

    registry.change(actor=ACTOR, device=device, values=make_fields(label="Zürich Nord"), own=OWN, at=at)  # type: ignore[arg-type]
    assert words(device) == {"zurich", "nord"}

    registry.release(actor=ACTOR, device=device, at=at)  # type: ignore[arg-type]
    assert not DeviceWord.objects.exists()


@pytest.mark.django_db
def test_a_phone_that_takes_its_label_from_a_code_has_its_words(at: object) -> None:
    profile = make_profile()

    device = registry.adopt(
        actor=ACTOR, organization=profile.organization, mac=make_mac(), model="CP-8841-3PCC", serial="",
        profile=profile, proven=False, at=at, label="Room 12",  # type: ignore[arg-type]
    )  # fmt: skip

    assert words(device) == {"room", "12"}


@pytest.mark.django_db
def test_words_belong_to_the_device_of_the_organization_that_took_it_over(at: object) -> None:
    profile, mac = make_profile(), make_mac()
    registry.adopt(
        actor=ACTOR, organization=profile.organization, mac=mac, model="", serial="", profile=profile, proven=False,
        at=at, label="Somebody's secret",  # type: ignore[arg-type]
    )  # fmt: skip

    device = make_device(organization=make_organization(), mac=mac, label="Mine")

    assert list(DeviceWord.objects.values_list("organization_id", "device_id")) == [(device.organization_id, device.pk)]
