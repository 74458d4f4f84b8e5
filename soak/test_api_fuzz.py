"""The OpenAPI document taken at its word for longer than the tests do, with other examples each time."""

import random

import pytest

from tests.api import fuzzing
from tests.api.conftest import PartnerClient
from tests.factories import make_organization

pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.django_db
def test_every_operation_answers_as_documented(settings):
    settings.API_REQUESTS_PER_MINUTE = 1_000_000
    number = random.SystemRandom().randrange(2**32)

    untrue = fuzzing.untruths(PartnerClient(make_organization()), examples=60, number=number)

    assert not untrue, f"seed {number}\n\n" + "\n\n".join(untrue)
