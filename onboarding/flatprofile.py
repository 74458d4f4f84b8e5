"""The phones' flat-profile: the document in which a phone is told its parameters.

    <flat-profile>
      <Profile_Rule ua="na">https://cfg.example.net/$MA.xml</Profile_Rule>
    </flat-profile>

UTF-8, one line a parameter, values escaped, `ua="na"` so that users cannot change them on the phone.
Source: the vendor's provisioning guide, "Configuration profile formats"; contract 3.1.
"""

import re
from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape

from onboarding.errors import OnboardingError
from onboarding.profilerule import InvalidProfileRule, ProfileRule

CONTENT_TYPE = "application/xml"

# Bounds of what one profile may list: a phone reads its profile into a small buffer.
MAX_PARAMETERS = 64
MAX_VALUE_LENGTH = 2048
# Of all values together: doors keep prepared documents in memory.
MAX_TOTAL_LENGTH = 16_384

# What a profile writes into a parameter's value where the phone's own report URL belongs.
REPORT_PLACEHOLDER = "{report_url}"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
# Set by the decision itself, never by a profile's list.
_RESERVED = frozenset({"Profile_Rule", "flat-profile", "device"})
# Values that are rules themselves, and so must follow the grammar.
_RULES = frozenset({"Profile_Rule_B", "Profile_Rule_C", "Profile_Rule_D"})


class InvalidParameter(OnboardingError):
    """A flat-profile parameter that no phone can take."""

    code = "invalid_parameter"
    remedy = 'Give parameters as names and texts, as {"Upgrade_Rule": "https://…/sip88xx.loads"}.'


def check_parameters(parameters: Mapping[str, object]) -> dict[str, str]:
    """Check a profile's further parameters, sorted by name. Raises InvalidParameter."""
    if len(parameters) > MAX_PARAMETERS:
        raise InvalidParameter(f"More than {MAX_PARAMETERS} parameters.", field="parameters")
    checked = {}
    for name, value in sorted(parameters.items()):
        if not _NAME.fullmatch(name):
            raise InvalidParameter(f"{name[:64]!r} is not a parameter name.", field="parameters")
        if name in _RESERVED:
            raise InvalidParameter(
                f"{name} cannot be set here.", field="parameters", remedy="Put the URL into the profile's targets."
            )
        if not isinstance(value, str) or len(value) > MAX_VALUE_LENGTH:
            raise InvalidParameter(
                f"The value of {name} is not a text of at most {MAX_VALUE_LENGTH} characters.", field="parameters"
            )
        if not value.isprintable():
            raise InvalidParameter(f"The value of {name} holds control characters.", field="parameters")
        if value.count(REPORT_PLACEHOLDER) > 1:
            raise InvalidParameter(
                f"The value of {name} holds {REPORT_PLACEHOLDER} more than once.", field="parameters"
            )
        if name in _RULES and value:
            try:
                ProfileRule.parse(value)
            except InvalidProfileRule as error:
                raise InvalidParameter(f"{name}: {error.detail}", field="parameters") from error
        checked[name] = value
    if sum(map(len, checked.values())) > MAX_TOTAL_LENGTH:
        raise InvalidParameter(
            f"The parameters have more than {MAX_TOTAL_LENGTH} characters together.", field="parameters"
        )
    return checked


def escaped(value: str) -> bytes:
    """A value as it stands inside the document."""
    return escape(value).encode()


def document(parameters: Iterable[tuple[str, str]]) -> bytes:
    """Print the document for parameters whose names were checked."""
    lines = [f'  <{name} ua="na">{escape(value)}</{name}>\n' for name, value in parameters]
    return f"<flat-profile>\n{''.join(lines)}</flat-profile>\n".encode()
