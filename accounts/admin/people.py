"""People: an organization's administrators keep its memberships; the operator keeps the accounts themselves."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from accounts import auditing, people, standing
from accounts.admin import scope
from accounts.admin.wording import VerbForm, sentence
from accounts.models import Membership, User
from onboarding.errors import OnboardingError

# Rights come from memberships, so Django's groups would promise what they do not do.
admin.site.unregister(Group)


class PersonForm(VerbForm):
    """A new person: the account and the place in the organization."""

    username = forms.CharField(
        label="User name", max_length=150, widget=UnfoldAdminTextInputWidget, validators=[UnicodeUsernameValidator()],
        help_text="What the person types to sign in.",
    )  # fmt: skip
    name = forms.CharField(label="Name", max_length=150, required=False, widget=UnfoldAdminTextInputWidget)
    email = forms.EmailField(label="E-mail", required=False, widget=UnfoldAdminEmailInputWidget)
    password = forms.CharField(
        label="First password", widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Tell it to the person, who should change it after signing in.",
    )  # fmt: skip

    class Meta:
        model = Membership
        fields = ("organization", "role")


class RoleForm(VerbForm):
    class Meta:
        model = Membership
        fields = ("role",)


@admin.register(Membership)
class MembershipAdmin(scope.VerbAdmin):
    seen_by = changed_by = standing.ADMINS
    ending, ended = "Remove", "removed"
    ending_means = "The person can no longer see this organization's phones. The account itself stays."
    list_display = ("person", "full_name", "organization", "role", "last_login")
    list_select_related = ("user", "organization")
    search_fields = ("user__username",)
    search_help_text = "User name"
    ordering = ("user__username", "pk")
    actions = ("remove_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user", "organization")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change=change, form=RoleForm if obj else PersonForm, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj:
            return ((None, {"fields": ("user", "organization", "role", "cannot_sign_in")}),)
        first = ("organization",) if self.asks_for_organization(request) else ()
        return ((None, {"fields": (*first, "username", "name", "email", "role", "password")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("user", "organization", "cannot_sign_in") if obj else ()

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: Membership | None) -> Membership:
        actor, at = standing.actor_of(request), timezone.now()
        if row is not None:
            assert isinstance(request.user, User)
            return people.change_role(row, role=cleaned["role"], by=request.user, actor=actor, at=at)
        return people.add(
            actor=actor,
            at=at,
            organization=self.chosen_organization(request, cleaned),
            username=cleaned["username"],
            role=cleaned["role"],
            password=cleaned["password"],
            email=cleaned["email"],
            name=cleaned["name"],
        )

    def end(self, request: HttpRequest, row: Membership) -> None:
        assert isinstance(request.user, User)
        people.remove(row, by=request.user, actor=standing.actor_of(request), at=timezone.now())

    @admin.action(description="Remove from the organization", permissions=["delete"])
    def remove_selected(self, request: HttpRequest, queryset: QuerySet[Membership]) -> Any:
        return self.end_selected(request, queryset)

    @admin.display(description="User name")
    def person(self, row: Membership) -> str:
        return row.user.get_username()

    @admin.display(description="Name")
    def full_name(self, row: Membership) -> str:
        return row.user.get_full_name()

    @admin.display(description="Cannot sign in?")
    def cannot_sign_in(self, row: Membership) -> str:
        offered = (("password_link", "Make a link to a new password"), ("reset_factor", "Take the second factor away"))
        links = ((reverse(f"admin:{name}", args=(row.pk,)), text) for name, text in offered)
        return format_html_join(" ", '<a class="button-plain" href="{}">{}…</a>', links)

    @admin.display(description="Last signed in", empty_value="never")
    def last_login(self, row: Membership) -> Any:
        return row.user.last_login


def _told(user: User) -> dict[str, object]:
    """An account as the audit keeps it."""
    fields = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser")
    return {field: getattr(user, field) for field in fields}


class MembershipInline(TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ("organization",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return standing.of(request).is_operator

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission


@admin.register(User)
class AccountAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]  # generic in stubs only
    """For the operator alone: an account may belong to several organizations."""

    form, add_form, change_password_form = UserChangeForm, UserCreationForm, AdminPasswordChangeForm
    inlines = (MembershipInline,)
    paginator = scope.CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_display = ("username", "get_full_name", "email", "is_superuser", "is_active", "last_login")
    list_filter = ("is_superuser", "is_active")
    search_fields = ("username", "email")
    search_help_text = "User name or e-mail"
    sortable_by = ("username",)
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password", ("first_name", "last_name"), "email")}),
        ("May sign in", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Times", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Nobody else may tell by the history's address which accounts there are."""
        rows: QuerySet[User] = super().get_queryset(request)
        return rows if standing.of(request).is_operator else rows.none()

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Django writes the account; what differs is told by the audit, a suspension to the person's organizations."""
        actor, at = standing.actor_of(request), timezone.now()
        before = _told(User.objects.get(pk=obj.pk)) if change else {}
        was_active = bool(before.get("is_active", True))
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            action = "account.changed" if change else "account.created"
            auditing.record_change(
                actor, organization_id=None, action=action, subject=f"account {obj.get_username()}", at=at,
                before=before, after=_told(obj), thing=f"account:{obj.pk}",
            )  # fmt: skip
            if was_active != obj.is_active:
                people.note_standing(obj, actor=actor, at=at)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """The account's places: what the operator gives and takes is told to each organization."""
        if formset.model is not Membership:
            super().save_formset(request, form, formset, change)
            return
        actor, at = standing.actor_of(request), timezone.now()
        formset.save(commit=False)
        assert isinstance(request.user, User)
        for membership in formset.deleted_objects:
            people.remove(membership, by=request.user, actor=actor, at=at)
        for membership, _ in formset.changed_objects:
            people.change_role(membership, role=membership.role, by=request.user, actor=actor, at=at)
        for membership in formset.new_objects:
            people.admit(membership, actor=actor, at=at)

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        people.delete_account(obj, actor=standing.actor_of(request), at=timezone.now())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            self.delete_model(request, user)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except OnboardingError as error:
            self.message_user(request, sentence(error), messages.ERROR)
            return HttpResponseRedirect(request.path)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return standing.of(request).is_operator

    def has_add_permission(self, request: HttpRequest) -> bool:
        return standing.of(request).is_operator

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return standing.of(request).is_operator

    has_change_permission = has_delete_permission = has_view_permission
