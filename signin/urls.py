"""The pages of this app, mounted in the admin site (`config.adminsite`): their names begin with `admin:`."""

from django.urls import path

from signin.views import account, entrance, people
from signin.views.account import own

urlpatterns = [
    path("login/code/", entrance.second_factor, name="second_factor"),
    path("login/passkey/", entrance.passkey, name="passkey"),
    path("login/passkey/options/", entrance.passkey_options, name="passkey_options"),
    path("login/new-password/<uidb64>/<token>/", entrance.NewPassword.as_view(), name="new_password"),
    path("account/", own(account.index), name="account"),
    path("account/required/", own(account.require_factor, on_the_way=True), name="require_factor"),
    path("account/confirm/", own(account.confirm, on_the_way=True), name="confirm"),
    path("account/app/", own(account.app, on_the_way=True, confirmed=True), name="app"),
    path("account/app/remove/", own(account.remove_factor, confirmed=True), {"kind": "totp"}, name="remove_app"),
    path("account/passkeys/add/", own(account.add_passkey, on_the_way=True, confirmed=True), name="add_passkey"),
    path("account/passkeys/<int:passkey_id>/name/", own(account.rename_passkey), name="rename_passkey"),
    path(
        "account/passkeys/<int:passkey_id>/remove/",
        own(account.remove_factor, confirmed=True),
        {"kind": "webauthn"},
        name="remove_passkey",
    ),
    path("account/recovery-codes/", own(account.recovery_codes, confirmed=True), name="recovery_codes"),
    path("account/sessions/end/", own(account.end_sessions), name="end_sessions"),
    path(
        "accounts/membership/<int:membership_id>/password-link/",
        own(people.password_link, confirmed=True),
        name="password_link",
    ),
    path(
        "accounts/membership/<int:membership_id>/reset-factor/",
        own(people.reset_factor, confirmed=True),
        name="reset_factor",
    ),
]
