"""Passkeys: as second factor and alone; each answer good once, for the purpose and the person that it was asked for."""

import json
from typing import Any

import pytest
from allauth.mfa.webauthn.internal.auth import build_user_payload
from django.test import Client
from django.urls import reverse
from fido2.utils import websafe_encode

from accounts.models import AuditEntry, Organization, User
from signin import factors
from tests.admin.authenticator import Passkey
from tests.admin.people import ACCOUNT, CODE, GIVEN, SIGN_IN, is_in, signed_in
from tests.factories import make_user

ADD, OPTIONS, PASSKEY = "/admin/account/passkeys/add/", "/admin/login/passkey/options/", "/admin/login/passkey/"


@pytest.fixture
def ann(provider: Organization) -> User:
    return make_user(organization=provider, role="admin", username="ann")


def add(passkey: Passkey, client: Client, *, name: str = "Laptop") -> Any:
    options = client.get(ADD).context["options"]
    return client.post(ADD, {"name": name, "credential": passkey.make(options)})


@pytest.fixture
def laptop(ann: User) -> Passkey:
    """A passkey of ann's."""
    passkey, client = Passkey(), signed_in()
    assert len(add(passkey, client).context["codes"]) == 10
    client.post("/admin/logout/")
    return passkey


def asked_alone(client: Client) -> Any:
    return client.post(OPTIONS).json()


def test_a_passkey_is_the_second_factor(laptop: Passkey, client: Client) -> None:
    client.post(SIGN_IN, GIVEN)

    client.post(CODE, {"credential": laptop.use(client.get(CODE).context["options"])})

    assert is_in(client)


def test_a_passkey_that_verifies_its_person_lets_in_alone(laptop: Passkey, client: Client) -> None:
    client.post(PASSKEY, {"credential": laptop.use(asked_alone(client))})

    assert is_in(client)
    assert AuditEntry.objects.filter(action="person.signed_in").latest("id").after == {"second_factor": "webauthn"}


def test_a_key_without_finger_or_pin_is_a_second_factor_and_no_more(ann: User, client: Client) -> None:
    key, own = Passkey(verifies=False), signed_in()
    add(key, own)

    refused = client.post(PASSKEY, {"credential": key.use(asked_alone(client))})
    assert "not one of this service" in refused.content.decode()
    assert not is_in(client)
    client.post(SIGN_IN, GIVEN)
    client.post(CODE, {"credential": key.use(client.get(CODE).context["options"])})

    assert is_in(client)


def test_an_answer_is_good_once(laptop: Passkey, client: Client) -> None:
    answer = laptop.use(asked_alone(client))
    challenge = client.cookies["challenge"].value
    client.post(PASSKEY, {"credential": answer})
    thief = Client()
    thief.cookies["challenge"] = challenge

    refused = thief.post(PASSKEY, {"credential": answer})

    assert "used before" in refused.content.decode()
    assert not is_in(thief)


def test_an_answer_to_another_question_is_refused(laptop: Passkey, client: Client) -> None:
    answer = laptop.use(asked_alone(client))
    asked_alone(client)

    client.post(PASSKEY, {"credential": answer})

    assert not is_in(client)


def test_a_question_of_another_purpose_is_refused(laptop: Passkey, client: Client) -> None:
    # As second factor the person need not be verified: such an answer must not do alone.
    client.post(SIGN_IN, GIVEN)
    answer = laptop.use(client.get(CODE).context["options"])

    client.post(PASSKEY, {"credential": answer})

    assert not is_in(client)


def test_a_passkey_of_somebody_else_is_no_second_factor(laptop: Passkey, provider: Organization) -> None:
    make_user(organization=provider, username="eve")
    stolen, eve = Passkey(), signed_in(username="eve")
    add(stolen, eve)
    client = Client()
    client.post(SIGN_IN, GIVEN)

    client.post(CODE, {"credential": stolen.use(client.get(CODE).context["options"])})

    assert not is_in(client)


def test_a_page_of_another_host_cannot_fish_a_passkey(laptop: Passkey, client: Client) -> None:
    laptop.origin = "https://testserver.evil.example"

    client.post(PASSKEY, {"credential": laptop.use(asked_alone(client))})

    assert not is_in(client)


def test_a_forged_owner_is_refused(laptop: Passkey, client: Client) -> None:
    root = make_user(username="root", is_superuser=True)

    laptop.user_handle = websafe_encode(build_user_payload(root).id)
    client.post(PASSKEY, {"credential": laptop.use(asked_alone(client))})

    assert not is_in(client)


def test_a_removed_passkey_lets_nobody_in(laptop: Passkey, ann: User, client: Client) -> None:
    client.post(PASSKEY, {"credential": laptop.use(asked_alone(client))})
    (kept,) = factors.of(ann).passkeys
    client.post(reverse("admin:remove_passkey", args=(kept.id,)))
    other = Client()

    other.post(PASSKEY, {"credential": laptop.use(asked_alone(other))})

    assert not is_in(other)


def test_an_account_that_is_switched_off_is_not_let_in(laptop: Passkey, ann: User, client: Client) -> None:
    User.objects.filter(pk=ann.pk).update(is_active=False)

    client.post(PASSKEY, {"credential": laptop.use(asked_alone(client))})

    assert not is_in(client)


def test_nobody_renames_or_removes_the_passkey_of_another(laptop: Passkey, ann: User, provider: Organization) -> None:
    make_user(organization=provider, username="eve")
    eve = signed_in(username="eve")
    (kept,) = factors.of(ann).passkeys

    eve.post(reverse("admin:rename_passkey", args=(kept.id,)), {"name": "Mine"})
    eve.post(reverse("admin:remove_passkey", args=(kept.id,)))

    assert [key.name for key in factors.of(ann).passkeys] == ["Laptop"]


def test_twenty_passkeys_are_enough(ann: User) -> None:
    own = signed_in()
    for number in range(factors.MOST_PASSKEYS):
        add(Passkey(), own, name=f"Key {number}")

    refused = add(Passkey(), own)

    assert "There are 20 passkeys already" in refused.content.decode()
    assert own.get(ACCOUNT).status_code == 200


@pytest.mark.parametrize(
    "credential",
    ["", "null", "[]", "{}", '"text"', "1", "[" * 5000, '{"id": "x"}', '{"id": 1, "rawId": {}, "response": []}',
     json.dumps({"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "AA",
                 "authenticatorData": "AA", "signature": "AA", "userHandle": "AA"}}),
     json.dumps({"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "e30",
                 "attestationObject": "oA", "userHandle": "\ud800"}}), "x" * 70_000],
)  # fmt: skip
def test_what_is_no_answer_is_refused_in_words(credential: str, laptop: Passkey, client: Client) -> None:
    asked_alone(client)
    assert "not one of this service" in client.post(PASSKEY, {"credential": credential}).content.decode()
    client.post(SIGN_IN, GIVEN)
    client.get(CODE)
    assert "not one of this service" in client.post(CODE, {"credential": credential}).content.decode()
    client.post(CODE, {"credential": laptop.use(client.get(CODE).context["options"])})
    client.get(ADD)
    assert "cannot be used" in client.post(ADD, {"name": "x", "credential": credential}).content.decode()
