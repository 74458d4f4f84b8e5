"""A phone's first boot, before a small service and a provider's server: the order of sources, and the states."""

import pytest

from tests.virtualphone.loopback import BEACON, EDOS, FORGET_BEACON, Answer, profile
from virtualphone import flash
from virtualphone.states import State


@pytest.fixture
def assigned(service, provider):
    """The service knows the phone's provider, and the provider has its profile."""
    service.assign(f"{provider.url}/$MA.xml")
    provider.give("/00562b043615.xml", Answer(body=profile(User_ID_1_="4001")))


def changes(steps):
    seen = [step.state for step in steps]
    return [state for index, state in enumerate(seen) if index == 0 or state is not seen[index - 1]]


def test_a_phone_with_a_provider_ends_acquired(make_phone, assigned, service, steps):
    phone = make_phone()

    outcome = phone.power_on()

    assert outcome.state is State.ACQUIRED
    assert outcome.failure is None
    assert changes(steps) == [State.OPEN, State.PENDING, State.CUSTOM_PENDING, State.ACQUIRED]
    assert phone.parameters["User_ID_1_"] == "4001"
    assert service.reports() == []


def test_the_query_names_the_phone(make_phone, assigned, service):
    make_phone().power_on()

    (query,) = service.asked(EDOS)
    assert query.method == "GET"
    assert query.query == {"id": "00562B043615:88012BA01234:CP-8841-3PCC", "sw": "sip88xx.11-3-2MPP0001-609"}
    assert query.headers["User-Agent"] == "Cisco-CP-8841-3PCC/11.3.2 (00562b043615)"


def test_the_beacon_is_fetched_last_and_forgotten(make_phone, assigned, service, provider):
    order = []

    def remembered(name, answer):
        def give(request):
            order.append(name)
            return answer

        return give

    provider.give("/00562b043615.xml", remembered("profile", Answer(body=profile(A="1"))))
    service.give(BEACON, remembered("beacon", Answer(body=FORGET_BEACON)))
    phone = make_phone()

    phone.power_on()
    phone.power_on()

    assert order == ["profile", "beacon", "profile"]
    assert phone.parameters["Profile_Rule_B"] == ""
    assert phone.token == "secret-token"
    assert service.asked(BEACON)[0].query == {"id": "00562B043615", "t": "secret-token"}


def test_a_failing_beacon_leaves_the_phone_acquired(make_phone, assigned, service):
    service.give(BEACON, Answer(503))

    outcome = make_phone(max_retries=1).power_on()

    assert outcome.state is State.ACQUIRED
    assert outcome.failure
    assert outcome.failure.what == "Profile_Rule_B"
    assert len(service.asked(BEACON)) == 2


def test_no_beacon_before_the_provider_answered(make_phone, assigned, service, provider):
    provider.give("/00562b043615.xml", Answer(404))

    outcome = make_phone().power_on()

    assert outcome.state is State.CUSTOM_PENDING
    assert service.asked(BEACON) == []


def test_an_empty_answer_makes_it_unavailable_and_it_asks_again_at_its_next_start(make_phone, service, provider):
    service.give(EDOS, Answer(200))
    phone = make_phone()

    assert phone.power_on().state is State.UNAVAILABLE

    service.assign(f"{provider.url}/a.xml")
    provider.give("/a.xml", Answer(body=profile(A="1")))
    assert phone.power_on().state is State.ACQUIRED


def test_an_acquired_phone_never_asks_again(make_phone, assigned, service, provider):
    memory = flash.VolatileFlash()
    make_phone(memory).power_on()

    outcome = make_phone(memory).power_on()

    assert outcome.state is State.ACQUIRED
    assert len(service.asked(EDOS)) == 1
    assert len(provider.asked("/00562b043615.xml")) == 2


def test_an_acquired_phone_stays_so_when_its_provider_fails(make_phone, assigned, service, provider):
    phone = make_phone(max_retries=0)
    phone.power_on()
    provider.give("/00562b043615.xml", Answer(500))

    outcome = phone.power_on()

    assert outcome.state is State.ACQUIRED
    assert outcome.failure
    assert outcome.failure.kind == "HTTP 500"
    assert service.reports() == ["resync_failed"]


def test_dhcp_wins_and_the_service_is_never_asked(make_phone, assigned, service, provider):
    phone = make_phone(dhcp=f"{provider.url}/$MA.xml")

    assert phone.power_on().state is State.ABORTED
    assert phone.power_on().state is State.ABORTED

    assert service.asked(EDOS) == []
    assert service.reports() == ["dhcp_provisioned"]
    assert len(provider.asked("/00562b043615.xml")) == 2


@pytest.mark.parametrize("rule", ["{url}/missing.xml", "(1 = 2)? {url}/a.xml", "(nonsense", "/$PN.cfg", "gds://"])
def test_dhcp_counts_only_if_its_profile_comes(make_phone, assigned, service, provider, rule):
    outcome = make_phone(dhcp=rule.format(url=provider.url)).power_on()

    assert outcome.state is State.ACQUIRED
    assert outcome.failure is None
    assert service.reports() == []


def test_a_person_wins_over_the_service(make_phone, assigned, service, provider):
    phone = make_phone()

    outcome = phone.provision_by_hand(f"{provider.url}/$MA.xml")
    phone.power_on()

    assert outcome.state is State.ABORTED
    assert outcome.failure is None
    assert service.asked(EDOS) == []
    assert service.reports() == ["manually_provisioned"]


def test_a_person_does_not_undo_acquired(make_phone, assigned, provider):
    phone = make_phone()
    phone.power_on()

    assert phone.provision_by_hand(f"{provider.url}/$MA.xml").state is State.ACQUIRED


def test_the_activation_screen_waits_for_a_person(make_phone, service, steps, slept):
    service.assign("gds://")

    outcome = make_phone().power_on()

    assert outcome.state is State.CUSTOM_PENDING
    assert outcome.failure
    assert outcome.failure.needs_person
    assert slept == []
    assert any("activation screen" in step.detail for step in steps)


def test_choosing_the_activation_screen_by_hand_changes_no_state(make_phone, service):
    assert make_phone().provision_by_hand("gds://").state is State.OPEN
    assert service.requests == []


def test_factory_reset_reports_with_the_token_and_forgets_everything(make_phone, assigned, service):
    phone = make_phone()
    phone.power_on()

    phone.factory_reset()

    assert phone.state is State.OPEN
    assert dict(phone.parameters) == {}
    assert phone.token == ""
    assert [request.query["t"] for request in service.requests if request.method == "POST"] == ["secret-token"]
    assert service.reports() == ["factory_reset"]
    assert phone.power_on().state is State.ACQUIRED
    assert len(service.asked(EDOS)) == 2


def test_factory_reset_without_a_token_is_silent(make_phone, service):
    make_phone().factory_reset()

    assert service.requests == []


def test_a_phone_told_not_to_report_does_not(make_phone, assigned, service, provider):
    provider.give("/00562b043615.xml", Answer(404), Answer(body=profile(A="1")))
    phone = make_phone(reports=False)

    phone.power_on()
    phone.factory_reset()

    assert service.reports() == []


def test_reports_that_nobody_hears_change_nothing(make_phone, provider, service):
    provider.give("/a.xml", Answer(body=profile(A="1")))
    service.give("/software/edos/callhome/report", Answer(hangs_up=True))

    assert make_phone().provision_by_hand(f"{provider.url}/a.xml").state is State.ABORTED


def test_the_providers_profile_may_name_further_rules(make_phone, service, provider):
    service.assign(f"{provider.url}/first.xml", token="")
    provider.give(
        "/first.xml",
        Answer(body=profile(Profile_Rule=f"{provider.url}/next.xml", Profile_Rule_C=f"{provider.url}/c-$PRVST.xml")),
    )
    provider.give("/c-0.xml", Answer(body=profile(C="3")))
    provider.give("/next.xml", Answer(body=profile(N="1")))
    phone = make_phone()

    phone.power_on()
    phone.power_on()

    assert [request.path for request in provider.requests] == ["/first.xml", "/c-0.xml", "/next.xml", "/c-0.xml"]
    assert phone.parameters["N"] == "1"


def test_a_rule_may_post_a_general_purpose_parameter(make_phone, service, provider):
    service.assign(f"[--post f] {provider.url}/resyncs", token="", GPP_F='Product = "$PN"; MAC_Addr = "$MA";')
    provider.give("/resyncs", Answer(body=profile(A="1")))

    outcome = make_phone().power_on()

    (request,) = provider.requests
    assert outcome.state is State.ACQUIRED
    assert (request.method, request.body) == ("POST", b'Product = "CP-8841-3PCC"; MAC_Addr = "00562b043615";')
