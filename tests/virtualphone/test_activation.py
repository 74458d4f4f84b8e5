"""The activation screen: what is typed, what goes over the wire, what the screen says, and where the phone ends."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.virtualphone.conftest import MAC, MODEL
from tests.virtualphone.loopback import BEACON, EDOS, FORGET_BEACON, Answer, profile
from virtualphone import activation, cli, edos, swarm
from virtualphone.activation import Entry, Slip
from virtualphone.phone import Circumstances, NoActivationScreen
from virtualphone.states import State

ACTIVATE = "/gds/activate"
SHORT = "/software/edos/callhome/cda"
CODE, LABEL = "1234567890123456", "1234 5678 9012 3456"
REFUSED = Answer(404, b'{"code": "invalid_activation_code"}')


@pytest.fixture
def taken(service, provider):
    """Any code is taken, and the provider has the phone's profile."""
    provider.give("/00562b043615.xml", Answer(body=profile(User_ID_1_="4001")))
    rule = {
        "Profile_Rule": f"{provider.url}/$MA.xml",
        "Profile_Rule_B": f"{service.url}{BEACON}?id=$MAU&t=secret-token",
    }
    answer = Answer(body=profile(**rule))
    service.give(ACTIVATE, answer)
    service.give(SHORT, answer)
    service.give(EDOS, Answer(200))
    service.give(BEACON, Answer(body=FORGET_BEACON))
    return answer


@pytest.fixture
def on_screen(steps):
    return lambda: [step.detail for step in steps if step.what == "screen" and step.is_problem]


def test_a_phone_nobody_knows_is_activated(make_phone, taken, service, steps):
    phone = make_phone()

    assert phone.power_on().state is State.UNAVAILABLE
    outcome = phone.activate(Entry.parse(LABEL))

    assert outcome.state is State.ACQUIRED
    assert outcome.failure is None
    assert phone.parameters["User_ID_1_"] == "4001"
    assert phone.token == "secret-token"
    assert service.asked(BEACON)[0].query["t"] == "secret-token"
    passed = [step.state for step in steps]
    assert passed.index(State.UNAVAILABLE) < passed.index(State.CUSTOM_PENDING) < passed.index(State.ACQUIRED)


def test_the_code_is_posted_with_the_phones_names(make_phone, taken, service):
    make_phone().activate(Entry.parse(LABEL))

    (request,) = service.asked(ACTIVATE)
    assert (request.method, request.query) == ("POST", {})
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"].startswith("Cisco-CP-8841-3PCC/")
    assert json.loads(request.body) == {
        "code": CODE,
        "mac": MAC,
        "model": MODEL,
        "serial": "88012BA01234",
        "firmware": "sip88xx.11-3-2MPP0001-609",
    }


def test_a_short_code_is_asked_with_its_pound_sign(make_phone, taken, service):
    assert make_phone().activate(Entry.parse("#123456")).state is State.ACQUIRED

    (request,) = service.asked(SHORT)
    assert request.method == "GET"
    assert request.query == {
        "code": "#123456",
        "id": "00562B043615:88012BA01234:CP-8841-3PCC",
        "sw": "sip88xx.11-3-2MPP0001-609",
    }
    assert service.asked(ACTIVATE) == []


@pytest.mark.parametrize("code", [CODE, "#123456"])
@pytest.mark.parametrize("answer", [REFUSED, Answer(400), Answer(404)])
def test_a_code_that_does_not_work_is_invalid_and_changes_nothing(
    make_phone, taken, service, on_screen, slept, code, answer
):
    service.give(ACTIVATE, answer)
    service.give(SHORT, answer)
    phone = make_phone()
    phone.power_on()

    outcome = phone.activate(Entry.parse(code))

    assert on_screen() == ["“Invalid activation code”"]
    assert outcome.state is State.UNAVAILABLE
    assert outcome.failure
    assert outcome.failure.kind == activation.REFUSED
    assert (slept, service.reports()) == ([], [])
    assert "Profile_Rule" not in phone.parameters


def test_a_short_code_without_its_pound_sign_is_an_activation_code(make_phone, taken, service):
    make_phone().activate(Entry.parse("123456"))

    assert json.loads(service.asked(ACTIVATE)[0].body)["code"] == "123456"
    assert service.asked(SHORT) == []


def test_a_user_who_slips_types_it_again(make_phone, taken, service, on_screen):
    service.give(ACTIVATE, Answer(400), REFUSED, taken)
    entry = Entry.parse(CODE)
    rng = random.Random(1)

    outcome = make_phone().activate(entry.mistyped(Slip.SWAP, rng), entry.mistyped(Slip.DIGIT, rng), entry)

    assert outcome.state is State.ACQUIRED
    assert outcome.failure is None
    assert [failure.kind for failure in outcome.failures] == [activation.REFUSED] * 2
    typed = [json.loads(request.body)["code"] for request in service.asked(ACTIVATE)]
    assert typed[-1] == CODE
    assert len(set(typed)) == 3
    assert on_screen() == ["“Invalid activation code”"] * 2


def test_what_is_typed_after_the_right_code_is_not_asked(make_phone, taken, service):
    make_phone().activate(Entry.parse(CODE), Entry.parse("#123456"))

    assert service.asked(SHORT) == []


@pytest.mark.parametrize("code", [CODE, "#123456"])
def test_a_registry_that_is_down_is_asked_again_when_it_said(make_phone, taken, service, slept, code):
    down = Answer(503, headers={"Retry-After": "7"})
    service.give(ACTIVATE, down, down, taken)
    service.give(SHORT, down, down, taken)

    outcome = make_phone().activate(Entry.parse(code))

    assert outcome.state is State.ACQUIRED
    assert slept == [7, 7]


@pytest.mark.parametrize("answer", [Answer(503), Answer(hangs_up=True), Answer(500), Answer(body=b"<html/>")])
def test_without_an_answer_it_gives_up_and_says_that_the_service_is_not_there(make_phone, service, on_screen, answer):
    service.give(ACTIVATE, answer)

    outcome = make_phone(max_retries=2).activate(Entry.parse(CODE))

    assert outcome.state is State.PENDING
    assert outcome.failure
    assert len(service.asked(ACTIVATE)) == 3
    assert on_screen() == [f"“{activation.UNREACHABLE}”"]


def test_a_lost_answer_is_asked_for_again_with_the_same_code(make_phone, taken, service):
    outcome = make_phone(loses_answer=True).activate(Entry.parse(CODE))

    assert outcome.state is State.ACQUIRED
    first, second = service.asked(ACTIVATE)
    assert first.body == second.body


def test_a_closed_limit_ends_the_attempt(make_phone, taken, service, on_screen, slept):
    service.give(ACTIVATE, Answer(429, headers={"Retry-After": "900"}))
    entry = Entry.parse(CODE)

    outcome = make_phone().activate(entry.mistyped(Slip.DIGIT, random.Random(1)), entry)

    assert outcome.failure
    assert (outcome.state, outcome.failure.kind) == (State.OPEN, activation.NOT_TRIED)
    assert "again in 900 s" in outcome.failure.detail
    assert len(service.asked(ACTIVATE)) == 1
    assert on_screen() == [f"“{activation.CLOSED}”"]
    assert slept == []


def test_a_redirect_repeats_the_whole_question(make_phone, taken, service):
    service.give(ACTIVATE, Answer(302, headers={"Location": "/elsewhere"}))
    service.give("/elsewhere", taken)

    assert make_phone().activate(Entry.parse(CODE)).state is State.ACQUIRED

    (request,) = service.asked("/elsewhere")
    assert request.method == "POST"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body)["code"] == CODE


def test_an_empty_answer_to_a_short_code_makes_it_unavailable(make_phone, service):
    service.give(SHORT, Answer(200))

    outcome = make_phone().activate(Entry.parse("#123456"))

    assert (outcome.state, outcome.failure) == (State.UNAVAILABLE, None)


def test_a_provider_that_fails_leaves_it_custom_pending(make_phone, taken, service, provider):
    provider.give("/00562b043615.xml", Answer(404))

    outcome = make_phone(max_retries=0).activate(Entry.parse(CODE))

    assert outcome.state is State.CUSTOM_PENDING
    assert outcome.failure
    assert outcome.failure.what == "Profile_Rule"
    assert service.reports() == ["resync_failed"]


@pytest.mark.parametrize("rule", ["gds://", "GDS://", "(1 = 2)? http://127.0.0.1/a.xml | gds://"])
def test_the_rule_gds_leads_to_the_screen(make_phone, taken, service, rule):
    service.assign(rule)
    phone = make_phone()

    assert phone.power_on().state is State.CUSTOM_PENDING
    assert phone.shows_activation_screen
    assert phone.activate(Entry.parse(CODE)).state is State.ACQUIRED


def test_an_acquired_phone_whose_provider_sends_it_to_the_screen_changes_provider(make_phone, taken, service, provider):
    service.assign(f"{provider.url}/old.xml")
    provider.give("/old.xml", Answer(body=profile(Profile_Rule="gds://")))
    phone = make_phone()

    assert phone.power_on().state is State.ACQUIRED
    outcome = phone.activate(Entry.parse(CODE))

    assert (outcome.state, outcome.failure) == (State.ACQUIRED, None)
    assert phone.parameters["User_ID_1_"] == "4001"


def test_a_provisioned_phone_shows_no_screen(make_phone, taken, service):
    phone = make_phone()
    phone.activate(Entry.parse(CODE))

    with pytest.raises(NoActivationScreen, match="factory reset"):
        phone.activate(Entry.parse(CODE))
    assert len(service.asked(ACTIVATE)) == 1
    phone.factory_reset()
    assert phone.shows_activation_screen


def test_the_paths_are_the_services_own(me):
    service = edos.Service("http://127.0.0.1/", short_code_path="/s", activation_path="/a")

    assert Entry.parse(CODE).question(service, me).url == "http://127.0.0.1/a"
    assert Entry.parse("#123").question(service, me).url.startswith("http://127.0.0.1/s?code=%23123&id=")


# What can be typed.


@pytest.mark.parametrize(
    ("text", "digits", "is_short"),
    [
        (CODE, CODE, False),
        (LABEL, CODE, False),
        ("1234-5678-9012-3456", CODE, False),
        ("#123", "123", True),
        ("# 123 456", "123456", True),
        ("1", "1", False),
    ],
)
def test_codes_are_read_as_they_stand_on_labels(text, digits, is_short):
    assert Entry.parse(text) == Entry(digits, is_short)


@pytest.mark.parametrize("text", ["", "#", "##123", "12#3", "1234567890ABCDEF", "١٢٣٤", "1\n2", "*123", "1" * 33])
def test_what_the_keypad_lacks_cannot_be_typed(text):
    with pytest.raises(activation.Untypeable):
        Entry.parse(text)


@given(digits=st.text("0123456789", min_size=1, max_size=16), short=st.booleans(), seed=st.integers(0, 99))
def test_a_slip_types_something_else_that_can_be_typed(digits, short, seed):
    entry = Entry(digits, short)

    for slip in Slip:
        typed = entry.mistyped(slip, random.Random(seed))
        assert typed != entry
        assert Entry.parse(str(typed)) == typed
        assert abs(len(typed.digits) - len(digits)) <= (slip in {Slip.MISSING, Slip.EXTRA})


def test_slips_are_what_they_are_called():
    entry, rng = Entry.parse(CODE), random.Random(5)

    assert entry.mistyped(Slip.POUND, rng) == Entry(CODE, is_short=True)
    assert len(entry.mistyped(Slip.MISSING, rng).digits) == 15
    assert len(entry.mistyped(Slip.EXTRA, rng).digits) == 17
    assert sorted(entry.mistyped(Slip.SWAP, rng).digits) == sorted(CODE)
    wrong = entry.mistyped(Slip.DIGIT, rng).digits
    assert sum(a != b for a, b in zip(wrong, CODE, strict=True)) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"{CODE}\n#123\n",
        f"\ufeff{CODE}\r\n\r\n#123",
        f'id,label,code,expires_at\r\n1,"Desk, 4",{LABEL},2026-12-01\r\n2,,#123,\r\n',
        f"label,Code\na,'{CODE}\nb,\t#123\n",
        f"// a comment\n{LABEL}\n# 123\n",
    ],
)
def test_a_file_has_a_code_a_line_or_a_column_of_them(text):
    assert activation.codes_in(text) == [Entry(CODE), Entry("123", is_short=True)]


@pytest.mark.parametrize("text", [f"{CODE}\nabc", "label,code\nx,\ny", f"{CODE}\n,{CODE}"])
def test_a_line_without_a_code_is_named(text):
    with pytest.raises(activation.Untypeable, match=r"line [23]:"):
        activation.codes_in(text)


# The command line.


@pytest.fixture
def type_code(service, tmp_path):
    """Run `activate` on the phone; retries take no time."""

    def run(code: str, *words: str, new: bool = True) -> int:
        named = ["--server", service.url, "--model", MODEL] if new else []
        shared = ["--mac", MAC, "--memory", str(tmp_path), "--retry-scale", "0.00001", "--timeout", "0.3"]
        return cli.main(["activate", code, *shared, *named, *words])

    return run


def test_a_phone_out_of_the_box_is_switched_on_first(type_code, taken, service, capsys):
    assert type_code(LABEL) == 0

    assert [len(service.asked(path)) for path in (EDOS, ACTIVATE)] == [1, 1]
    assert "✓ Acquired" in capsys.readouterr().out


def test_the_next_code_is_typed_at_the_same_phone(type_code, taken, service, capsys):
    service.give(SHORT, Answer(404))

    assert type_code("#123456") == 1
    assert "✗ Unavailable: the screen says “Invalid activation code”" in capsys.readouterr().out
    assert type_code(CODE, new=False) == 0
    assert len(service.asked(EDOS)) == 1
    assert type_code(CODE, new=False) == 2
    assert "activation screen" in capsys.readouterr().err


def test_it_need_not_be_switched_on(type_code, taken, service):
    assert type_code(CODE, "--no-boot") == 0
    assert service.asked(EDOS) == []


def test_a_phone_that_its_provider_registered_needs_no_code(type_code, taken, service, provider, capsys):
    service.assign(f"{provider.url}/$MA.xml")

    assert type_code(CODE) == 0

    assert service.asked(ACTIVATE) == []
    assert "never came up" in capsys.readouterr().out


def test_slips_are_typed_before_the_code(type_code, taken, service):
    service.give(ACTIVATE, Answer(400), Answer(400), taken)

    assert type_code(CODE, "--slip", "swap", "--slip", "missing", "--seed", "3") == 0

    typed = [json.loads(request.body)["code"] for request in service.asked(ACTIVATE)]
    assert [len(code) for code in typed] == [16, 15, 16]


def test_paths_can_be_changed(type_code, taken, service, tmp_path):
    service.give("/codes", taken)
    service.give("/short", taken)

    assert type_code(CODE, "--activation-path", "/codes") == 0
    assert cli.main(["factory-reset", "--mac", MAC, "--no-boot", "--memory", str(tmp_path)]) == 0
    assert type_code("#123", "--no-boot", "--short-code-path", "/short") == 0
    assert (service.asked(ACTIVATE), service.asked(SHORT)) == ([], [])


def test_a_404_that_is_not_the_services_own_points_at_the_path(type_code, taken, service, capsys):
    service.give(ACTIVATE, Answer(404, b"<h1>Not Found</h1>"))

    type_code(CODE)

    assert "is --activation-path right?" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["12ab"], ["#"], [CODE, "--slip", "sneeze"], []])
def test_bad_usage_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["activate", *words, "--mac", MAC])

    assert ended.value.code == 2


def test_a_phone_that_was_never_booted_needs_its_names(type_code, capsys):
    assert type_code(CODE, new=False) == 2
    assert type_code(CODE, "--model", MODEL, new=False) == 2
    assert "--server and --model" in capsys.readouterr().err


# Many at once.


def _swarm(service, *words: str) -> list[str]:
    shared = ["--server", service.url, "--mac-start", "005600000000", "--retry-scale", "0.00001", "--json"]
    return ["swarm", *shared, "--concurrency", "8", *words]


@pytest.fixture
def any_profile(service, provider):
    answer = Answer(body=profile(Profile_Rule=f"{provider.url}/all.xml"))
    provider.give("/all.xml", Answer(body=profile(A="1")))
    service.give(SHORT, answer)
    return answer


def test_a_swarm_types_a_short_code_at_every_phone(service, any_profile, capsys):
    assert cli.main(_swarm(service, "--phones", "20", "--activate", "#123456")) == 0

    result = json.loads(capsys.readouterr().out)
    assert result["states"] == {"acquired": 20}
    assert len({request.query["id"] for request in service.asked(SHORT)}) == 20
    assert service.asked(EDOS) == []


def test_a_swarm_types_each_code_of_a_file_once(service, any_profile, tmp_path, capsys):
    file = tmp_path / "codes.csv"
    file.write_text("code\n" + "".join(f"{number:016}\n" for number in range(20)))
    service.give(ACTIVATE, lambda request: any_profile if int(json.loads(request.body)["code"]) % 2 else REFUSED)

    assert cli.main(_swarm(service, "--phones", "20", "--activate", str(file))) == 1

    result = json.loads(capsys.readouterr().out)
    assert result["states"] == {"acquired": 10, "open": 10}
    assert (result["refused"], result["unanswered"]) == (10, 0)
    assert result["errors"] == [{"where": "activation", "kind": activation.REFUSED, "count": 10}]
    assert {json.loads(request.body)["code"] for request in service.asked(ACTIVATE)} == {
        f"{number:016}" for number in range(20)
    }


def test_a_share_of_the_users_mistypes_first(service, any_profile):
    service.give(ACTIVATE, lambda request: any_profile if json.loads(request.body)["code"] == CODE else Answer(400))
    plan = swarm.Plan(
        swarm.identities("005600000000", 40, MODEL),
        edos.Service(service.url),
        concurrency=4,
        circumstances=Circumstances(max_retries=0),
        codes=[Entry.parse(CODE)] * 40,
        slip_share=0.5,
        seed=1,
    )

    result = swarm.Swarm(plan).run()

    slips = result.errors["activation", activation.REFUSED]
    assert 8 <= slips <= 32
    assert result.states == {State.ACQUIRED: 40}
    assert (result.refused, result.unanswered) == (0, 0)
    assert len(service.asked(ACTIVATE)) == 40 + slips


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "neither a code nor a file"), ("1\n2\n", "2 codes for 5 phones"), ("code\nabc\n", "line 2")],
)
def test_a_swarm_without_enough_codes_does_not_start(service, tmp_path, capsys, content, sentence):
    file = tmp_path / "codes.txt"
    if content:
        file.write_text(content)

    assert cli.main(_swarm(service, "--phones", "5", "--activate", str(file))) == 2

    assert sentence in capsys.readouterr().err
    assert service.requests == []
