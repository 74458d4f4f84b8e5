"""The forms of signing in and of one's own account: shapes only; what a verb refuses is shown in them."""

from django import forms
from django.contrib.auth.forms import SetPasswordForm
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from onboarding.errors import OnboardingError
from signin.factors import LONGEST_NAME


class _Form(forms.Form):
    def refuse(self, error: OnboardingError) -> None:
        """Show what a verb refused, at its field."""
        field = error.field if self.is_bound and error.field in self.fields else None
        self.errors.clear()
        self.cleaned_data = getattr(self, "cleaned_data", {})
        self.add_error(field, f"{error.detail} {error.remedy}".strip())


class SignInForm(_Form):
    username = forms.CharField(
        label="User name", max_length=150,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "username webauthn", "autofocus": True}),
    )  # fmt: skip
    password = forms.CharField(
        label="Password", strip=False, max_length=4096,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"}),
    )  # fmt: skip


class CodeForm(_Form):
    code = forms.CharField(
        label="Code", max_length=32,
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}
        ),
    )  # fmt: skip


class PasskeyNameForm(_Form):
    name = forms.CharField(
        label="Name", max_length=LONGEST_NAME,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "Laptop, or the key on my ring"}),
        help_text="How you will tell it from others.",
    )  # fmt: skip


class ConfirmForm(_Form):
    password = forms.CharField(
        label="Your password", strip=False, max_length=4096,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password", "autofocus": True}),
    )  # fmt: skip


class ChangePasswordForm(_Form):
    password = forms.CharField(
        label="Present password", strip=False, max_length=4096,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password", "autofocus": True}),
    )  # fmt: skip
    new_password = forms.CharField(
        label="New password", strip=False, max_length=1000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="At least eight characters, not a common one.",
    )  # fmt: skip
    again = forms.CharField(
        label="New password again", strip=False, max_length=1000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )  # fmt: skip

    def clean_again(self) -> str:
        again: str = self.cleaned_data["again"]
        if again != self.cleaned_data.get("new_password", again):
            raise forms.ValidationError("The two new passwords differ.")
        return again


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]  # generic in stubs only
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        for name in ("new_password1", "new_password2"):
            self.fields[name].widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})
            self.fields[name].max_length = 1000  # type: ignore[attr-defined]
