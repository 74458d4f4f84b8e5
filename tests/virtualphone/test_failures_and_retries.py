"""What goes wrong on the wire, and what the phone makes of it: the seed's table, retries, delays."""

from base64 import b64encode

import pytest

from tests.virtualphone.loopback import BEACON, EDOS, Answer, profile
from virtualphone import delays, flash
from virtualphone.states import State
from virtualphone.statuses import Reaction

GOOD = Answer(body=profile(A="1"))


@pytest.mark.parametrize(
    ("answer", "reaction", "kind"),
    [
        (Answer(300), "C", "HTTP 300"),
        (Answer(301), "C", "HTTP 301"),
        (Answer(303, headers={"Location": "/good.xml"}), "C", "HTTP 303"),
        (Answer(307, headers={"Location": "/good.xml"}), "C", "HTTP 307"),
        (Answer(400), "C", "HTTP 400"),
        (Answer(401), "C", "HTTP 401"),
        (Answer(403), "C", "HTTP 403"),
        (Answer(404), "B", "HTTP 404"),
        (Answer(407), "C", "HTTP 407"),
        (Answer(410), "C", "HTTP 410"),
        (Answer(500), "C", "HTTP 500"),
        (Answer(501), "C", "HTTP 501"),
        (Answer(502), "C", "HTTP 502"),
        (Answer(503), "C", "HTTP 503"),
        (Answer(504), "C", "HTTP 504"),
        (Answer(599), "C", "HTTP 599"),
        (Answer(204), "C", "HTTP 204"),
        (Answer(body=b""), "B", "corrupt profile"),
        (Answer(body=b"<html/>"), "B", "corrupt profile"),
        (Answer(body=b"x" * ((1 << 20) + 1)), "C", "too large"),
        (Answer(hangs=True), "C", "timeout"),
        (Answer(hangs_up=True), "C", "connection lost"),
        (Answer(302, headers={"Location": "tftp://127.0.0.1/a"}), "C", "scheme not supported"),
        (Answer(302, headers={"Location": "http://[bad"}), "C", "bad URL"),
    ],
)
def test_the_table_of_statuses(make_phone, service, provider, answer, reaction, kind):
    service.assign(f"{provider.url}/cfg.xml")
    provider.give("/cfg.xml", answer)
    provider.give("/good.xml", GOOD)

    outcome = make_phone(max_retries=0).power_on()

    assert outcome.state is State.CUSTOM_PENDING
    assert outcome.failure
    assert (outcome.failure.reaction, outcome.failure.kind) == (Reaction(reaction), kind)
    assert service.reports() == ["resync_failed"]
    assert service.asked(BEACON) == []


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("tftp://127.0.0.1/a.cfg", "scheme not supported"),
        ("/$PSN.xml", "scheme not supported"),
        ("http:///a.xml", "bad URL"),
        ("http://127.0.0.1:99999/a.xml", "bad URL"),
        ("(nonsense)? http://127.0.0.1/", "invalid rule"),
        ("http://127.0.0.1:9/a.xml", "connection refused"),
    ],
)
def test_rules_that_lead_nowhere_are_class_c(make_phone, service, rule, kind):
    service.assign(rule)

    failure = make_phone(max_retries=0).power_on().failure

    assert failure
    assert (failure.kind, failure.reaction) == (kind, Reaction.FAILURE)


@pytest.mark.parametrize("status", [301, 302])
def test_redirects_are_followed_at_once(make_phone, service, provider, slept, status):
    service.assign(f"{provider.url}/old.xml")
    provider.give("/old.xml", Answer(status, headers={"Location": "/new.xml"}))
    provider.give("/new.xml", GOOD)

    assert make_phone().power_on().state is State.ACQUIRED
    assert slept == []


def test_a_permanent_redirect_also_holds_for_future_requests(make_phone, service, provider):
    service.assign(f"{provider.url}/old.xml")
    provider.give("/old.xml", Answer(301, headers={"Location": "/new.xml"}))
    provider.give("/new.xml", Answer(404), GOOD)

    assert make_phone().power_on().state is State.ACQUIRED
    assert [request.path for request in provider.requests] == ["/old.xml", "/new.xml", "/new.xml"]


def test_redirects_that_never_end_are_class_c(make_phone, service, provider):
    service.assign(f"{provider.url}/loop.xml")
    provider.give("/loop.xml", Answer(302, headers={"Location": "/loop.xml"}))

    failure = make_phone(max_retries=0).power_on().failure

    assert failure
    assert failure.kind == "HTTP 302"
    assert len(provider.requests) == 6


@pytest.mark.parametrize(
    ("status", "asks", "answers"),
    [(401, "WWW-Authenticate", "Authorization"), (407, "Proxy-Authenticate", "Proxy-Authorization")],
)
def test_credentials_are_given_when_asked_for_and_twice_at_most(make_phone, service, provider, status, asks, answers):
    service.assign(f"[--uid u --pwd p] {provider.url}/a.xml")
    provider.give("/a.xml", Answer(status, headers={asks: 'Basic realm="x"'}))

    failure = make_phone(max_retries=0).power_on().failure

    assert failure
    assert failure.kind == f"HTTP {status}"
    assert [request.headers.get(answers) for request in provider.requests] == [
        None,
        *2 * [f"Basic {b64encode(b'u:p').decode()}"],
    ]


def test_credentials_are_not_taken_along_to_another_location(make_phone, service, provider):
    service.assign(f"[--uid u --pwd p] {provider.url}/a.xml")
    provider.give(
        "/a.xml",
        Answer(401, headers={"WWW-Authenticate": "Basic"}),
        Answer(302, headers={"Location": f"{service.url}/b.xml"}),
    )
    service.give("/b.xml", GOOD)

    assert make_phone().power_on().state is State.ACQUIRED
    assert "Authorization" not in service.asked("/b.xml")[0].headers


@pytest.mark.parametrize(
    ("challenge", "response"),
    [
        # RFC 2617, section 3.5, without qop: computed with its own example's user, realm and nonce.
        ('Digest realm="testrealm@host.com", nonce="dcd98b"', "legacy"),
        ('Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=SHA-256, opaque="o"', "sha-256"),
    ],
)
def test_digest_logins(make_phone, service, provider, challenge, response):
    import hashlib
    import re

    service.assign(f"[--uid Mufasa --pwd Circle] {provider.url}/dir/a.xml?x=1")
    seen = []

    def check(request):
        given = request.headers.get("Authorization", "")
        if not given:
            return Answer(401, headers={"WWW-Authenticate": challenge})
        fields = dict(re.findall(r'(\w+)="?([^",]+)', given))
        digest = hashlib.sha256 if response == "sha-256" else hashlib.md5

        def hashed(text):
            return digest(text.encode()).hexdigest()

        secret, subject = hashed(f"Mufasa:{fields['realm']}:Circle"), hashed("GET:/dir/a.xml?x=1")
        middle = f"{fields['nc']}:{fields['cnonce']}:auth:" if "qop" in fields else ""
        seen.append(fields["response"] == hashed(f"{secret}:{fields['nonce']}:{middle}{subject}"))
        return GOOD

    provider.give("/dir/a.xml", check)

    assert make_phone().power_on().state is State.ACQUIRED
    assert seen == [True]


def test_a_failed_resync_is_tried_again_without_asking_again(make_phone, service, provider, slept):
    service.assign(f"{provider.url}/a.xml")
    provider.give("/a.xml", Answer(404), Answer(503, headers={"Retry-After": "7"}), GOOD)

    outcome = make_phone(retry_scale=0.5).power_on()

    assert outcome.state is State.ACQUIRED
    assert outcome.failure is None
    assert [failure.kind for failure in outcome.failures] == ["HTTP 404", "HTTP 503"]
    assert slept == [30, 60]
    assert len(service.asked(EDOS)) == 1
    assert service.reports() == ["resync_failed", "resync_failed"]


def test_the_profile_may_set_the_delay(make_phone, service, slept):
    service.assign("http://127.0.0.1:9/", Resync_Error_Retry_Delay="5,7")

    make_phone(max_retries=3).power_on()

    assert slept == [5, 7, 7]


def test_a_busy_service_says_when_to_ask_again(make_phone, service, provider, steps, slept):
    service.assign(f"{provider.url}/a.xml")
    service.answers[EDOS].insert(0, Answer(503, headers={"Retry-After": "12"}))
    provider.give("/a.xml", GOOD)

    assert make_phone().power_on().state is State.ACQUIRED
    assert slept == [12]
    assert next(step.state for step in steps if step.what == "wait") is State.PENDING


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(404), "HTTP 404"),
        (Answer(400), "HTTP 400"),
        (Answer(body=b"<oops"), "corrupt profile"),
        (Answer(body=profile(Other="1")), "corrupt profile"),
        (Answer(hangs_up=True), "connection lost"),
    ],
)
def test_a_query_that_fails_leaves_it_pending(make_phone, service, answer, kind):
    service.give(EDOS, answer)

    outcome = make_phone(max_retries=1).power_on()

    assert outcome.state is State.PENDING
    assert outcome.failure
    assert outcome.failure.kind == kind
    assert len(service.asked(EDOS)) == 2


def test_a_lost_answer_leaves_it_pending_and_it_asks_again(make_phone, service, provider):
    service.assign(f"{provider.url}/a.xml")
    provider.give("/a.xml", GOOD)

    assert make_phone(loses_answer=True, max_retries=0).power_on().state is State.PENDING
    assert make_phone(loses_answer=True).power_on().state is State.ACQUIRED
    assert len(service.asked(EDOS)) == 3


def test_power_cut_before_the_profile_came(make_phone, service, provider):
    memory = flash.VolatileFlash()
    service.assign(f"{provider.url}/a.xml")
    make_phone(memory, max_retries=0).power_on()
    provider.give("/a.xml", GOOD)

    assert make_phone(memory).power_on().state is State.ACQUIRED
    assert len(service.asked(EDOS)) == 2


def test_connections_are_kept_and_a_closed_one_is_no_failure(make_phone, service, provider):
    service.assign(f"{provider.url}/a.xml")
    provider.give(
        "/a.xml", Answer(body=profile(A="1"), headers={"Connection": "keep-alive"}), Answer(hangs_up=True), GOOD
    )
    phone = make_phone(max_retries=0)

    phone.power_on()
    outcome = phone.power_on()

    assert service.connections == 1
    assert outcome.failure is None


@pytest.mark.parametrize(
    ("listed", "failures", "seconds"),
    [("", 1, 60), ("", 3, 240), ("", 99, 86400), ("10, 20", 5, 20), ("x", 1, 60), ("5,", 1, 60), ("3600", 7, 3600)],
)
def test_resync_error_retry_delay(listed, failures, seconds):
    assert delays.after_failure({"Resync_Error_Retry_Delay": listed}, failures) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("Sun, 22 Nov 2026 09:31:30 GMT", 90),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0),
        ("99999999999999999999", 86400),
        ("soon", None),
        ("-1", None),
    ],
)
def test_retry_after_in_both_forms(header, seconds, at):
    assert delays.asked_by_server(header, at) == seconds
