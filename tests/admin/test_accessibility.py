"""Every page can be used without seeing it and without a mouse: names of controls, structure, contrast.

What axe-core checks of this kind, as far as it can be told from a page's source and the stylesheet.
"""

import re
from collections import Counter
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from accounts.models import Organization
from onboarding.states import CustomizationState
from operations.models import Operation
from tests.factories import make_device, make_profile

_VOID = {"input", "img", "br", "hr", "meta", "link", "col", "wbr", "source", "rect", "circle", "path", "polyline"}
_NAMED_BY_CONTENT = {"button", "a", "summary", "option"}


class _Page(HTMLParser):
    """Collects what has no name, duplicate ids, and references that lead nowhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.labelled: set[str] = set()
        self.controls: list[dict[str, Any]] = []
        self.nameless: list[str] = []
        self.headings: list[int] = []
        self.language = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attributes}
        if tag == "html":
            self.language = has.get("lang", "")
        if "id" in has:
            self.ids.append(has["id"])
        for name in ("aria-controls", "aria-describedby", "aria-labelledby"):
            # The theme gives its hints of fields no id, and refers to it all the same.
            self.references += [each for each in has.get(name, "").split() if not each.endswith("_helptext")]
        if tag == "label":
            self.labelled.add(has.get("for", ""))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        inside_label = any(frame["tag"] == "label" for frame in self.stack)
        hidden = has.get("type") == "hidden" or any(
            "hidden" in frame["has"] or "aria-hidden" in frame["has"] for frame in self.stack
        )
        if tag in ("input", "select", "textarea") and not hidden and "hidden" not in has:
            self.controls.append({"tag": tag, "has": has, "labelled": inside_label})
        if tag == "img":
            self._content(has.get("alt", "") or ("·" if "alt" in has else ""))
            if "alt" not in has:
                self.nameless.append(f"img {has}")
        if "aria-label" in has or "title" in has:
            self._content(has.get("aria-label", "") or has.get("title", ""))
        if tag not in _VOID:
            self.stack.append({"tag": tag, "has": has, "content": ""})

    def handle_data(self, data: str) -> None:
        if not any(frame["has"].get("aria-hidden") == "true" for frame in self.stack):
            self._content(data)

    def _content(self, text: str) -> None:
        for frame in self.stack:
            frame["content"] += text

    def handle_endtag(self, tag: str) -> None:
        while self.stack:
            frame = self.stack.pop()
            has = frame["has"]
            named = frame["content"].strip() or has.get("aria-label") or has.get("title")
            if frame["tag"] in _NAMED_BY_CONTENT and not named and "hidden" not in has and "href" in {*has, "href"}:
                icon_only = frame["tag"] == "a" and "href" not in has
                if not icon_only and frame["tag"] != "option":
                    self.nameless.append(f"{frame['tag']} {has}")
            if frame["tag"] == tag:
                break

    def unlabelled(self) -> list[str]:
        return [
            f"{control['tag']} {control['has']}"
            for control in self.controls
            if not (
                control["labelled"]
                or control["has"].get("aria-label")
                or control["has"].get("aria-labelledby")
                or control["has"].get("title")
                or control["has"].get("id") in self.labelled
                or control["has"].get("type") in ("submit", "button")
                # The theme's own palette of commands, which its placeholder names.
                or control["has"].get("hx-target") == "#command-results"
            )
        ]


@pytest.fixture
def pages(provider: Organization, staff: Client) -> dict[str, str]:
    profile = make_profile(organization=provider)
    device = make_device(profile=profile, state="custom_pending", label="Reception")
    file = BytesIO(b"mac,model\n00562b043615,CP-8841-3PCC\n5,x\n")
    file.name = "list.csv"
    sheet = staff.post(reverse("admin:operations_operation_import"), {"file": file})["Location"]
    staff.post(sheet, {"kind": "import", "try": ""})
    operation = Operation.objects.get()
    return {
        "home": reverse("admin:index"),
        "devices": f"{reverse('admin:onboarding_device_changelist')}?state=custom_pending",
        "device": reverse("admin:onboarding_device_change", args=(device.pk,)),
        "explain": reverse("admin:onboarding_device_explain", args=(device.pk,)),
        "new device": reverse("admin:onboarding_device_add"),
        "profile": reverse("admin:onboarding_redirectprofile_change", args=(profile.pk,)),
        "hand in": reverse("admin:operations_operation_import"),
        "sheet": sheet,
        "chosen": f"{reverse('admin:operations_operation_chosen')}?kind=assign&device={device.pk}",
        "operation": reverse("admin:operations_operation_change", args=(operation.pk,)),
        "operations": reverse("admin:operations_operation_changelist"),
        "history": reverse("admin:onboarding_statechange_changelist"),
    }


def test_every_control_has_a_name_and_every_reference_leads_somewhere(pages: dict[str, str], staff: Client) -> None:
    for name, address in pages.items():
        response = staff.get(address)
        assert response.status_code == 200, name
        page = _Page(response.content.decode())

        assert page.language, name
        assert page.unlabelled() == [], name
        assert page.nameless == [], name
        assert [each for each, times in Counter(page.ids).items() if times > 1] == [], name
        assert [each for each in page.references if each not in page.ids] == [], name
        assert page.headings, name


def test_what_is_found_is_a_list_box(provider: Organization, staff: Client) -> None:
    make_device(organization=provider, label="Reception")

    home = staff.get(reverse("admin:index")).content.decode()
    found = staff.get(reverse("admin:onboarding_device_find"), {"q": "rec"}).content.decode()

    assert re.search(r'role="combobox"[^>]*aria-controls="found"', home)
    assert re.search(r'<ul[^>]*id="found"[^>]*role="listbox"', home)
    assert found.count('role="option"') == found.count('aria-selected="false"') == 1


# Contrast (WCAG 2.2, 1.4.3): of the colours that this stylesheet sets, on the grounds on which they stand.

_GROUNDS = {"light": (255, 255, 255), "dark": (16, 24, 40)}
_LEAST_CONTRAST = 4.5


def _colour(text: str) -> tuple[float, float, float]:
    digits = text.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    red, green, blue = (int(digits[place : place + 2], 16) for place in (0, 2, 4))
    return red, green, blue


def _mixed(colour: tuple[float, ...], ground: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(share * ink + (1 - share) * below for ink, below in zip(colour, ground, strict=True))


def _luminance(colour: tuple[float, ...]) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    dark, bright = sorted((_luminance(one), _luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def _stylesheet() -> str:
    path = finders.find("onboarding/admin.css")
    assert isinstance(path, str)
    return Path(path).read_text()


@pytest.mark.parametrize("state", list(CustomizationState))
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_badges_of_states_can_be_read(state: CustomizationState, scheme: str) -> None:
    prefix = r"\.dark " if scheme == "dark" else r"(?<!\.dark )"
    found = re.search(prefix + rf"\.state-{state.value} \{{ --state: (#\w+)", _stylesheet())
    share = re.search(
        r"\.state \{ color: var\(--state\); background: color-mix\(in srgb, var\(--state\) (\d+)%", _stylesheet()
    )
    assert found
    assert share
    colour, ground = _colour(found[1]), _GROUNDS[scheme]

    assert contrast(colour, _mixed(colour, ground, int(share[1]) / 100)) >= _LEAST_CONTRAST


@pytest.mark.parametrize("tone", ["good", "bad", "warn"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_and_notes_can_be_read(tone: str, scheme: str) -> None:
    block = re.search((r":root" if scheme == "light" else r"\.dark") + r" \{([^}]*)\}", _stylesheet())
    assert block
    found = re.search(rf"--{tone}: (#\w+)", block[1])
    assert found
    colour = _colour(found[1])

    # Notes have the densest ground of their tone that text stands on.
    assert contrast(colour, _mixed(colour, _GROUNDS[scheme], 0.12)) >= _LEAST_CONTRAST


def test_what_moves_stands_still_for_those_who_ask() -> None:
    sheet = _stylesheet()
    moving = set(re.findall(r"animation: (\w+)", sheet)) - {"none"}

    assert moving
    assert "prefers-reduced-motion: reduce" in sheet
    assert sheet.count("animation: none") >= len(moving)
