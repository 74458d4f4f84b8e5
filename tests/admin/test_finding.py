"""What the search box offers while one types, and the lists that people save under a name."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from html.parser import HTMLParser

import pytest
from django.test import Client
from django.urls import reverse

from accounts import mandates
from accounts.models import Organization, User
from onboarding import savedfilters
from onboarding.admin import lookup
from onboarding.models import SavedFilter
from tests.admin.conftest import browser
from tests.admin.test_pages import PERSON
from tests.factories import ACTOR, make_device, make_organization, make_profile, make_user

LIST = "admin:onboarding_device_changelist"
SAVED = "admin:onboarding_device_saved"


class _Options(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.labels: list[str] = []
        self._label = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._label = ("class", "found-label") in attrs

    def handle_data(self, data: str) -> None:
        if self._label:
            self.labels.append(data)
            self._label = False


def offered(client: Client, typed: str) -> list[str]:
    response = client.get(reverse("admin:onboarding_device_find"), {"q": typed})
    assert response.status_code == 200
    options = _Options()
    options.feed(response.content.decode())
    return options.labels


def listed(client: Client, typed: str) -> list[str]:
    return [row.label for row in client.get(reverse(LIST), {"q": typed}).context["cl"].result_list]


@pytest.fixture
def phones(provider: Organization, other: Organization) -> None:
    make_device(organization=provider, mac="00562B043615", serial="FCH2133E8B9", label="Reception Zürich")
    make_device(organization=provider, mac="00562B0436FF", serial="FCH2133ZZZZ", label="Red room, 2nd floor")
    make_device(organization=provider, mac="F09E63AABB15", serial="88012BA01234", label="Büro Recht 12")
    make_device(organization=other, mac="00562B999915", serial="FCH9999E8B9", label="Reception of theirs")


@pytest.mark.usefixtures("phones")
@pytest.mark.parametrize(
    ("typed", "labels"),
    [
        ("3615", ["Reception Zürich"]),
        ("36:15", ["Reception Zürich"]),
        ("15", ["Reception Zürich", "Büro Recht 12"]),
        ("bb15", ["Büro Recht 12"]),
        ("e8b9", ["Reception Zürich"]),
        ("1234", ["Büro Recht 12"]),
        ("rece", ["Reception Zürich"]),
        ("RE", ["Reception Zürich", "Red room, 2nd floor", "Büro Recht 12"]),
        ("zurich", ["Reception Zürich"]),
        ("ZÜRICH rec", ["Reception Zürich"]),
        ("floor red", ["Red room, 2nd floor"]),
        ("2nd", ["Red room, 2nd floor"]),
        ("12", ["Büro Recht 12"]),
        ("floor reception", []),
        ("oom", []),
        ("%", []),
        ("_", []),
        ("theirs", []),
        ("", []),
        ("   ", []),
        ("\x00", []),
        ("x" * 500, []),
    ],
)
def test_box_and_list_find_the_same(typed: str, labels: list[str], staff: Client) -> None:
    assert offered(staff, typed) == labels
    if typed.strip() and typed.isprintable():
        assert listed(staff, typed) == labels


@pytest.mark.usefixtures("phones")
def test_the_operator_finds_everybodys(operator: Client) -> None:
    assert offered(operator, "reception") == ["Reception Zürich", "Reception of theirs"]
    assert offered(operator, "e8b9") == ["Reception Zürich", "Reception of theirs"]


def test_a_partner_finds_what_its_mandate_names(provider: Organization, at: datetime) -> None:
    partner = make_organization(kind="partner")
    given, kept = make_profile(organization=provider), make_profile(organization=provider)
    make_device(profile=given, mac="00562B043615", label="Reception", state="acquired")
    make_device(profile=kept, mac="00562B043616", label="Reception of the board", state="acquired")
    mandates.give(
        actor=ACTOR, provider=provider, partner=partner, scopes=["devices:read"], profile_ids=[given.pk], at=at
    )
    client = browser(make_user(organization=partner))

    assert offered(client, "reception") == listed(client, "reception") == ["Reception"]
    assert offered(client, "00562b04") == ["Reception"]
    assert client.get(reverse("admin:index")).context["path_bars"][3].shown == "1"


def test_a_search_with_very_many_results_says_so(
    provider: Organization, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup.devices, "__kwdefaults__", {"most": 3})
    for number in range(5):
        make_device(organization=provider, label=f"Room {number}")

    cut = staff.get(reverse(LIST), {"q": "room"})
    whole = staff.get(reverse(LIST), {"q": "room 4"})

    assert (cut.context["cl"].result_count, "More devices match" in cut.content.decode()) == (3, True)
    assert (whole.context["cl"].result_count, "More devices match" in whole.content.decode()) == (1, False)


def test_of_two_words_the_rarer_leads(provider: Organization, staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_MOST_LABELS", 5)
    for number in range(10):
        make_device(organization=provider, label=f"Floor {number:02}")

    assert listed(staff, "floor 09") == ["Floor 09"]
    assert listed(staff, "09 floor") == ["Floor 09"]


@pytest.mark.parametrize(
    ("typed", "queries"),
    # Each kind of match; then the rows, if there are any.
    [("00:56:2b:00:00:01", 3), ("fch21", 4), ("0056", 6), ("reception berlin", 4)],
)
def test_a_search_costs_so_many_queries(
    typed: str, queries: int, provider: Organization, staff: Client,
    django_assert_num_queries: Callable[[int], AbstractContextManager[object]],
) -> None:  # fmt: skip
    make_device(organization=provider, mac="00562B000001", serial="FCH21", label="Reception Berlin")
    offered(staff, typed)

    with django_assert_num_queries(PERSON + queries):
        assert offered(staff, typed)


def test_strangers_find_nothing(client: Client, provider: Organization) -> None:
    make_device(organization=provider, label="Reception")

    assert client.get(reverse("admin:onboarding_device_find"), {"q": "rec"}).status_code == 302


def save(client: Client, name: str, query: str) -> str:
    return client.post(reverse(SAVED), {"name": name, "query": query}, follow=True).content.decode()


def test_a_list_is_saved_and_offered_to_whoever_saved_it(provider: Organization, staff: Client, reader: Client) -> None:
    save(staff, "Stuck", "stalled=1&q=room")

    assert 'href="?q=room&amp;stalled=1"' in staff.get(reverse(LIST)).content.decode()
    assert "Stuck" not in reader.get(reverse(LIST)).content.decode()


def test_a_reader_may_save_lists_too(provider: Organization, reader: Client) -> None:
    save(reader, "Mine", "state=open")

    assert SavedFilter.objects.get().user.username == "rita"


def test_a_saved_list_is_forgotten_by_its_owner_alone(provider: Organization, staff: Client, reader: Client) -> None:
    save(staff, "Stuck", "stalled=1")

    reader.post(reverse(SAVED), {"forget": "Stuck"})
    assert SavedFilter.objects.exists()
    staff.post(reverse(SAVED), {"forget": "Stuck"})
    assert not SavedFilter.objects.exists()


@pytest.mark.parametrize(
    ("name", "query", "said"),
    [
        ("", "state=open", "1 to 40"),
        ("x" * 41, "state=open", "1 to 40"),
        ("a\x07b", "state=open", "1 to 40"),
        ("All", "", "not filtered"),
        ("All", "p=3&next=https://elsewhere.example/", "not filtered"),
        ("Long", "q=" + "x" * 600, "too long"),
    ],
)
def test_a_list_that_cannot_be_saved_is_refused_in_words(
    name: str, query: str, said: str, provider: Organization, staff: Client
) -> None:
    assert said in save(staff, name, query)
    assert not SavedFilter.objects.exists()


def test_saved_lists_are_bounded(provider: Organization, staff: Client) -> None:
    for number in range(savedfilters.MOST_SAVED):
        save(staff, f"List {number}", "state=open")

    assert "the most there may be" in save(staff, "One more", "state=open")
    assert "is saved" in save(staff, "List 3", "state=pending")
    assert SavedFilter.objects.filter(user=User.objects.get(username="stan")).count() == savedfilters.MOST_SAVED
