"""Signing in to the admin site: one way in, with a second factor where there is one."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib import admin
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.actors import Actor
from accounts.models import AuditEntry, Organization, User
from signin import entering, factors
from signin.models import Session
from signin.sessions import SessionStore
from tests.admin.conftest import browser
from tests.admin.people import CODE, GIVEN, HOME, SIGN_IN, code_of, give_app, is_in
from tests.factories import make_user


@pytest.fixture
def ann(provider: Organization) -> User:
    return make_user(organization=provider, role="admin", username="ann")


def test_the_right_password_leads_to_the_page_that_was_asked_for(ann: User, client: Client) -> None:
    asked = client.get(reverse("admin:onboarding_device_changelist"))

    entered = client.post(asked["Location"], GIVEN)

    assert entered["Location"] == reverse("admin:onboarding_device_changelist")
    assert is_in(client)


def test_nobody_is_led_to_another_host(ann: User, client: Client) -> None:
    entered = client.post(f"{SIGN_IN}?next=https://evil.example/", GIVEN)

    assert entered["Location"] == HOME


@pytest.mark.parametrize(
    "given",
    [
        GIVEN | {"password": "wrong-password"},
        GIVEN | {"username": "nobody"},
        GIVEN | {"username": "stopped"},
        GIVEN | {"username": "outsider"},
        GIVEN | {"password": "x" * 4000},
    ],
)
def test_whoever_is_not_let_in_gets_the_same_answer(given: dict[str, str], ann: User, client: Client) -> None:
    make_user(username="stopped", is_active=False)
    make_user(username="outsider", is_staff=False)

    page = client.post(SIGN_IN, given)

    assert page.status_code == 200
    assert page.context["form"].errors == {"__all__": [
        "The user name or the password is wrong. Mind capital letters. An administrator of your organization can give"
        " you a link to choose a new password."
    ]}  # fmt: skip
    assert not is_in(client)


def test_a_person_with_an_app_is_let_in_by_password_and_code_only(ann: User, client: Client) -> None:
    secret, _ = give_app(ann)

    half = client.post(SIGN_IN, GIVEN)
    assert half["Location"] == CODE
    assert not is_in(client)
    assert "The code is wrong" in client.post(CODE, {"code": "000000"}).content.decode()
    assert not is_in(client)
    client.post(CODE, {"code": code_of(secret)})

    assert is_in(client)


def test_the_code_page_is_for_those_who_have_shown_the_password(ann: User, client: Client) -> None:
    secret, _ = give_app(ann)

    refused = client.post(CODE, {"code": code_of(secret)})

    assert refused["Location"].startswith(SIGN_IN)
    assert not is_in(client)


def test_a_password_that_was_changed_meanwhile_was_not_shown(ann: User, client: Client) -> None:
    secret, _ = give_app(ann)
    client.post(SIGN_IN, GIVEN)

    ann.set_password("another-password")
    ann.save()
    client.post(CODE, {"code": code_of(secret)})

    assert not is_in(client)


def test_a_code_is_good_once(ann: User, client: Client) -> None:
    secret, _ = give_app(ann)
    code = code_of(secret)
    client.post(SIGN_IN, GIVEN)
    client.post(CODE, {"code": code})
    another = Client()
    another.post(SIGN_IN, GIVEN)

    refused = another.post(CODE, {"code": code})

    assert "was used before" in refused.content.decode()
    assert not is_in(another)


@pytest.mark.parametrize(("seconds", "good"), [(-60, False), (-30, True), (30, True), (60, False)])
def test_a_clock_may_be_wrong_by_half_a_minute(seconds: int, good: bool, ann: User) -> None:
    secret, _ = give_app(ann)
    # In the middle of a period.
    at = datetime.fromtimestamp(timezone.now().timestamp() // 30 * 30 + 15, UTC)
    code = code_of(secret, at=at + timedelta(seconds=seconds))

    if good:
        assert factors.prove_code(ann, code, at=at) == "totp"
    else:
        with pytest.raises(factors.WrongCode):
            factors.prove_code(ann, code, at=at)


def test_a_recovery_code_lets_in_once_and_its_owner_is_told_how_many_are_left(ann: User, client: Client) -> None:
    _, codes = give_app(ann)
    client.post(SIGN_IN, GIVEN)

    client.post(CODE, {"code": f"{codes[3][:4]} {codes[3][4:]}"})

    assert "9 are left" in client.get(HOME).content.decode()
    another = Client()
    another.post(SIGN_IN, GIVEN)
    another.post(CODE, {"code": codes[3]})
    assert not is_in(another)


def test_the_admins_own_forms_are_no_way_past_the_second_factor(ann: User, client: Client) -> None:
    give_app(ann)

    client.post(reverse("admin:login"), GIVEN | {"this_is_the_login_form": "1", "next": HOME})

    assert not is_in(client)


@pytest.mark.parametrize(
    "path",
    [
        "accounts/login/", "accounts/signup/", "accounts/password/reset/", "accounts/email/", "accounts/2fa/",
        "accounts/2fa/authenticate/", "login/", "signup/", "admin/mfa/authenticator/", "admin/account/emailaddress/",
    ],
)  # fmt: skip
def test_none_of_the_librarys_own_pages_is_there(path: str, operator: Client) -> None:
    assert operator.get(f"/{path}").status_code == 404


def test_people_of_an_organization_that_requires_it_set_one_up_before_any_other_page(
    ann: User, provider: Organization, client: Client
) -> None:
    Organization.objects.filter(pk=provider.pk).update(requires_second_factor=True)
    asked = reverse("admin:onboarding_device_changelist")

    led = client.post(f"{SIGN_IN}?next={asked}", GIVEN, follow=True)

    assert led.redirect_chain[-1][0].startswith(reverse("admin:require_factor"))
    for page in (HOME, asked, reverse("admin:account"), reverse("admin:password_change")):
        assert client.get(page).status_code == 302
    shown = client.get(reverse("admin:app"))
    secret = shown.context["secret"].replace(" ", "")
    codes = client.post(reverse("admin:app"), {"code": code_of(secret)})
    assert len(codes.context["codes"]) == 10
    assert is_in(client)
    assert client.get(asked).status_code == 200


def test_a_session_without_the_second_factor_ends_where_one_comes_to_be_required(
    ann: User, provider: Organization, client: Client
) -> None:
    client.post(SIGN_IN, GIVEN)
    assert is_in(client)

    Organization.objects.filter(pk=provider.pk).update(requires_second_factor=True)

    assert client.get(HOME).status_code == 302
    assert client.get(SIGN_IN)["Location"].startswith(reverse("admin:require_factor"))


def test_an_operator_needs_one_where_the_environment_says_so(settings: Settings, client: Client, db: None) -> None:
    make_user(username="root", is_superuser=True)
    client.post(SIGN_IN, GIVEN | {"username": "root"})
    assert is_in(client)

    settings.REQUIRE_OPERATOR_SECOND_FACTOR = True

    assert not is_in(client)
    assert client.get(reverse("admin:app")).status_code == 200


def test_people_of_a_suspended_organization_are_out_at_the_next_request(
    ann: User, provider: Organization, client: Client
) -> None:
    client.post(SIGN_IN, GIVEN)
    Organization.objects.filter(pk=provider.pk).update(suspended_at=timezone.now())

    assert client.get(HOME).status_code == 302
    assert client.get(reverse("admin:account")).status_code == 302


def test_an_account_that_is_switched_off_is_out_at_the_next_request(ann: User, client: Client) -> None:
    client.post(SIGN_IN, GIVEN)
    User.objects.filter(pk=ann.pk).update(is_active=False)

    assert client.get(HOME).status_code == 302


def test_signing_in_is_on_the_record_of_each_organization(ann: User, provider: Organization, client: Client) -> None:
    client.post(SIGN_IN, GIVEN, headers={"X-Request-Id": "request-of-ann"})

    entry = AuditEntry.objects.get(action="person.signed_in")
    assert (entry.organization, entry.name, entry.address) == (provider, "ann", "127.0.0.1")
    assert entry.request_id == "request-of-ann"


def test_a_factor_that_was_set_up_meanwhile_is_asked_for(ann: User, rf: RequestFactory) -> None:
    request = rf.post(SIGN_IN)
    request.session = SessionStore()
    give_app(ann)

    with pytest.raises(entering.FactorNeeded):
        entering.enter(request, ann, factor="", actor=Actor("admin", "ann"), browser="", at=timezone.now())

    assert not Session.objects.filter(user=ann).exists()


def test_a_new_session_has_a_new_key(ann: User, client: Client) -> None:
    secret, _ = give_app(ann)
    client.post(SIGN_IN, GIVEN)
    half = client.cookies["sessionid"].value

    client.post(CODE, {"code": code_of(secret)})

    assert client.cookies["sessionid"].value != half
    other = Client()
    other.cookies["sessionid"] = half
    assert not is_in(other)


def test_the_operators_command_takes_the_second_factor_of_somebody_who_lost_it(ann: User, client: Client) -> None:
    give_app(ann)
    signed_in = browser(ann)

    call_command("reset_second_factor", "ann")

    assert not is_in(signed_in)
    client.post(SIGN_IN, GIVEN)
    assert is_in(client)
    assert AuditEntry.objects.filter(action="factor.reset").count() == 1


def test_the_api_asks_no_session(operator: Client) -> None:
    refused = operator.get("/api/v1/devices/")

    assert refused.status_code == 401
    assert "Set-Cookie" not in refused


def test_every_page_of_the_admin_site_asks_who_it_is(db: None, client: Client) -> None:
    open_to_all = {"login", "second_factor", "passkey", "passkey_options", "new_password", "logout"}
    names = {pattern.name for pattern in admin.site.get_urls() if getattr(pattern, "name", None)}

    for name in names - open_to_all:
        try:
            address = reverse(f"admin:{name}")
        except Exception:
            continue
        assert client.get(address).status_code in {302, 301}, name


@pytest.mark.parametrize("path", [SIGN_IN, CODE, "/admin/login/passkey/", "/admin/login/passkey/options/"])
def test_no_page_of_another_site_signs_a_browser_in(path: str, ann: User) -> None:
    strict = Client(enforce_csrf_checks=True)

    assert strict.post(path, GIVEN).status_code == 403


@pytest.mark.parametrize(("role", "status", "required"), [("admin", 302, True), ("staff", 403, False)])
def test_administrators_require_a_second_factor_of_their_people(
    role: str, status: int, required: bool, provider: Organization
) -> None:
    page = reverse("admin:accounts_organization_change", args=(provider.pk,))

    saved = browser(make_user(organization=provider, role=role)).post(page, {"requires_second_factor": "on"})

    provider.refresh_from_db()
    assert saved.status_code == status
    assert provider.requires_second_factor is required
