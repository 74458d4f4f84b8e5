"""What people are handed: labels, tables, and the words to read aloud."""

import csv
import io
import re

import pytest

from activation import handover
from activation.codes import ActivationCode
from activation.handover import Label
from tests.activation.factories import make_code
from tests.factories import make_profile


def test_the_spoken_form_has_every_digit_in_groups_of_four():
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    code = ActivationCode.random()

    groups = handover.spoken(code).split(", ")

    assert "".join(str(words.index(word)) for group in groups for word in group.split()) == code.digits
    assert [len(group.split()) for group in groups] == [4, 4, 4, 4]


@pytest.mark.django_db
def test_a_label_says_whose_which_phone_and_how_long():
    row, code = make_code(label="Reception", mac="00562B043615", model="CP-8841-3PCC")

    label = Label.of(row, code)

    assert (label.grouped, label.label, label.model) == (code.grouped, "Reception", "CP-8841-3PCC")
    assert label.bound_to == "00:56:2B:04:36:15"
    assert label.expires == "29 November 2026, 09:30 UTC"


def test_the_qr_code_is_a_drawing_without_script_or_text():
    svg = handover.qr(ActivationCode.random())

    assert svg.startswith("<svg")
    assert set(re.findall(r"<(\w+)", svg)) == {"svg", "path"}


def test_different_codes_have_different_drawings():
    assert handover.qr(ActivationCode.random()) != handover.qr(ActivationCode.random())


@pytest.mark.django_db
@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://evil.example")', "Anna, Linz"])
def test_no_cell_of_a_table_is_run_by_a_spreadsheet(label):
    row, code = make_code(label=label, profile=make_profile(name=label))

    (cells,) = csv.DictReader(io.StringIO(handover.csv_text([(row, code)])))

    for cell in (cells["label"], cells["profile"]):
        assert cell.removeprefix("'") == label
        assert cell[0] not in "=+-@\t\r"
    assert cells["code"] == code.grouped
    assert cells["expires_at"] == "2026-11-29T09:30:00Z"
