"""Refusals in the words of people who fill in forms, and the form that shows them at their fields."""

from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from onboarding.errors import OnboardingError

# Remedies that speak to programs, said for a form.
_REMEDIES = {
    "invalid_device": "",
    "invalid_profile": "",
    "invalid_targets": "Type one rule a line; phones get the first.",
    "invalid_parameter": "Type one parameter a line, as Upgrade_Rule = https://server/firmware.loads.",
    "unknown_profile": "Choose one of the organization's own profiles.",
    "not_found": "Look it up again.",
}

# What each scope lets somebody do, for people who give it.
_SCOPES = {
    "devices:read": "see phones and their history",
    "devices:write": "register, change and release phones; bulk work",
    "profiles:read": "see profiles and short codes",
    "profiles:write": "change profiles and short codes",
    "codes:read": "see activation codes, without digits",
    "codes:issue": "issue and revoke activation codes",
    "codes:reveal": "read the digits of issued codes again",
    "events:read": "read the event feed",
    "webhooks:write": "keep webhooks",
    "audit:read": "read the audit",
    "organization:admin": "keep people, keys and mandates",
}


def scope_choices(scopes: Iterable[str]) -> list[tuple[str, str]]:
    """Scopes as boxes to tick, each with what it means."""
    return [(name, f"{name}: {_SCOPES[name]}") for name in scopes]


def sentence(error: OnboardingError) -> str:
    """What was wrong and what to do about it."""
    # A remedy of the error's own knows more than its class's.
    remedy = error.remedy if "remedy" in vars(error) else _REMEDIES.get(error.code, error.remedy)
    return f"{error.detail} {remedy}".strip()


class ParsedField(forms.CharField):
    """A text that becomes a value by a parser of ours; empty gives None."""

    widget = UnfoldAdminTextInputWidget

    def __init__(self, parse: Callable[[str], Any], **kwargs: Any) -> None:
        self._parse = parse
        super().__init__(**kwargs)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            return self._parse(text)
        except OnboardingError as error:
            raise forms.ValidationError(sentence(error), code=error.code) from error


class LinesField(ParsedField):
    """As ParsedField, over several lines."""

    widget = UnfoldAdminTextareaWidget


class VerbForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in stubs only
    """Shape only. The instance stays as it was read: the verb writes, and what it refuses is shown here."""

    refusal: OnboardingError | None = None

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.refusal is not None:
            field = self.refusal.field if self.refusal.field in self.fields else None
            self.add_error(field, forms.ValidationError(sentence(self.refusal), code=self.refusal.code))
        return cleaned

    def _post_clean(self) -> None:
        """Neither fills nor validates the instance."""
