"""Lists: filters, limits, and cursors that neither repeat nor hide anything while rows come and go."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from onboarding.models import StateChange
from tests.factories import AT, make_device, make_profile


def macs(answer):
    return [row["mac"] for row in answer.json()["results"]]


def follow(partner, path, query=""):
    """Every page of a list."""
    pages: list[list[dict]] = []
    cursor = None
    while cursor is not None or not pages:
        answer = partner("GET", f"{path}?{query}" + (f"&cursor={cursor}" if cursor else ""))
        assert answer.status_code == 200
        pages.append(answer.json()["results"])
        cursor = answer.json()["next"]
    return pages


def test_devices_come_in_the_order_of_their_macs_a_page_at_a_time(partner):
    devices = [make_device(organization=partner.organization) for _ in range(5)]

    pages = follow(partner, "devices/", "limit=2")

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [row["mac"] for page in pages for row in page] == sorted(device.mac for device in devices)


def test_an_empty_list_has_no_next(partner):
    assert partner("GET", "devices/").json() == {"results": [], "next": None}


def test_a_list_that_fits_exactly_has_no_next(partner):
    for _ in range(2):
        make_device(organization=partner.organization)

    assert partner("GET", "devices/?limit=2").json()["next"] is None


def test_rows_that_come_or_go_meanwhile_neither_repeat_nor_hide_others(partner):
    kept = [make_device(organization=partner.organization, mac=f"00562B0000{n:02X}") for n in (0x10, 0x30, 0x50, 0x70)]
    first = partner("GET", "devices/?limit=2").json()

    make_device(organization=partner.organization, mac="00562B000001")
    make_device(organization=partner.organization, mac="00562B000040")
    partner("DELETE", f"devices/{kept[1].mac}/")
    second = partner("GET", f"devices/?limit=2&cursor={first['next']}").json()
    third = partner("GET", f"devices/?limit=2&cursor={second['next']}").json()

    seen = [row["mac"] for row in first["results"] + second["results"] + third["results"]]
    assert seen == ["00562B000010", "00562B000030", "00562B000040", "00562B000050", "00562B000070"]


def test_the_timeline_is_read_newest_first_while_it_grows(partner):
    device = make_device(organization=partner.organization)
    for number in range(4):
        partner("PATCH", f"devices/{device.mac}/", {"label": str(number)})
    path = f"devices/{device.mac}/timeline/"
    first = partner("GET", f"{path}?limit=2").json()
    partner("PATCH", f"devices/{device.mac}/", {"label": "later"})

    second = partner("GET", f"{path}?limit=3&cursor={first['next']}").json()

    labels = [row["evidence"].get("after", {}).get("label") for row in first["results"] + second["results"]]
    assert labels == ["3", "2", "1", "0", None]
    assert second["next"] is None


def test_profiles_come_in_pages(partner):
    profiles = [make_profile(organization=partner.organization) for _ in range(3)]

    pages = follow(partner, "profiles/", "limit=2")

    assert [[row["id"] for row in page] for page in pages] == [[p.pk for p in profiles[:2]], [profiles[2].pk]]


def test_each_filter_narrows_the_list(partner):
    profile = make_profile(organization=partner.organization)
    plain = make_device(organization=partner.organization)
    special = make_device(
        profile=profile, model="CP-6841-3PCC", serial="FCH2133E8B9", state="custom_pending",
        columns={"stalled_at": AT, "changed_at": AT + timedelta(hours=1)},
    )  # fmt: skip

    for query in (
        "state=custom_pending",
        "model=cp-6841-3pcc",
        f"profile={profile.pk}",
        "serial=fch2133e8b9",
        "stalled=true",
        "changed_after=2026-11-22T10:00:00Z",
        "changed_after=2026-11-22T11:00:00%2B01:00",
        f"state=custom_pending&model=CP-6841-3PCC&profile={profile.pk}&stalled=true",
    ):
        assert macs(partner("GET", f"devices/?{query}")) == [special.mac], query
    assert macs(partner("GET", "devices/?stalled=false")) == [plain.mac]
    assert macs(partner("GET", "devices/?state=open")) == [plain.mac]
    assert macs(partner("GET", "devices/?state=open&stalled=true")) == []


def test_filters_go_on_along_the_pages(partner):
    for number in range(6):
        make_device(organization=partner.organization, model="CP-6841-3PCC" if number % 2 else "CP-8841-3PCC")

    pages = follow(partner, "devices/", "model=CP-6841-3PCC&limit=2")

    assert [len(page) for page in pages] == [2, 1]
    assert {row["model"] for page in pages for row in page} == {"CP-6841-3PCC"}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=1001", "limit=x", "state=gone", "model=%3F", "profile=x", "profile=0", "serial=1",
        "stalled=perhaps", "changed_after=yesterday", "changed_after=2026-11-22", "changed_after=2026-11-22T10:00:00",
        "stat=open", "state=", "state=open&state=pending", "cursor=", "cursor=x%00", "mac=00562B043615",
        f"profile={10**30}",
    ],
)  # fmt: skip
def test_a_query_that_is_not_understood_is_refused(partner, query):
    answer = partner("GET", f"devices/?{query}")

    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [query.partition("=")[0]]


def test_a_cursor_that_was_tampered_with_or_belongs_elsewhere_is_refused(partner, stranger):
    for owner in (partner, stranger):
        for _ in range(3):
            make_device(organization=owner.organization)
            make_profile(organization=owner.organization)
    own = partner("GET", "devices/?limit=1").json()["next"]
    foreign = stranger("GET", "devices/?limit=1").json()["next"]
    of_profiles = partner("GET", "profiles/?limit=1").json()["next"]
    filtered = partner("GET", "devices/?limit=1&state=open").json()["next"]
    tampered = own[:-1] + ("A" if own[-1] != "A" else "B")

    for cursor in (foreign, of_profiles, filtered, tampered, own[1:], "x", "MDA"):
        refused = partner("GET", f"devices/?cursor={cursor}")
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor")
    assert partner("GET", f"devices/?cursor={own}").status_code == 200


def test_a_cursor_tells_nothing_readable(partner):
    for _ in range(2):
        device = make_device(organization=partner.organization)

    assert device.mac not in partner("GET", "devices/?limit=1").json()["next"]


def test_a_page_costs_the_same_queries_however_long_it_is(partner):
    def cost(path):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert partner("GET", path).status_code == 200
        return len(queries)

    profile = make_profile(organization=partner.organization)
    device = make_device(profile=profile)
    partner("GET", "me/")  # the key's use is written down at its first use
    paths = ("devices/", f"devices/{device.mac}/timeline/", "profiles/")
    few = [cost(path) for path in paths]
    for _ in range(10):
        make_device(profile=make_profile(organization=partner.organization))
        partner("PATCH", f"devices/{device.mac}/", {"label": str(StateChange.objects.count())})

    assert [cost(path) for path in paths] == few
    assert max(few) <= 3
