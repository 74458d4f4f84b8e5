"""What the OpenAPI document says is true: an outside fuzzer finds no undocumented status, no 5xx, no other shape."""

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from schemathesis.core.failures import FailureGroup

from accounts import views
from tests.api import fuzzing
from tests.factories import make_device, make_profile, make_short_code

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def _one_connection():
    """As Django's own test client does: the end of a request must not end the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.django_db
def test_every_operation_answers_as_documented(partner, settings):
    settings.API_REQUESTS_PER_MINUTE = 1_000_000
    profile = make_profile(organization=partner.organization)
    device = make_device(profile=profile)
    code = make_short_code(profile=profile)
    present = {"mac": device.mac, "profile_id": profile.pk, "digits": code.code}
    untrue = []
    for operation in fuzzing.operations(fuzzing.load()):
        try:
            fuzzing.fuzz(operation, key=partner.key, present=present, examples=5, before=views.counts().forget)
        except (Exception, FailureGroup) as error:
            untrue.append(f"{operation.label}: {_told(error)}"[:3000])

    assert not untrue, "\n\n".join(untrue)


def _told(error):
    inner = getattr(error, "exceptions", ())
    return f"{error}\n" + "\n".join(f"  {type(e).__name__}: {e}" for e in inner)
