"""ScopedAdmin, the base of the admin's pages.

Lists, pages, choices, autocompletion, actions and confirmations are cut to what a person may see and do, by
`accounts.standing` and `visible_to`, here and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.core.paginator import Paginator
from django.db.models import ForeignKey, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin

from accounts import standing
from accounts.admin import wording
from accounts.mandates import OutsideMandate
from accounts.models import Organization
from accounts.tenancy import TenantQuerySet, Viewer
from onboarding.errors import OnboardingError

# An action on more rows than this would keep the request, and its locks, too long.
MOST_AT_ONCE = 1000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic in stubs only
    """Counts no further than a person would ever page: counting a million rows takes longer than showing fifty."""

    template_name = "accounts/pagination.html"
    MOST = 10_000

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: self.MOST + 1].count())

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.MOST)

    @property
    def is_capped(self) -> bool:
        """Whether there are more rows than can be paged to."""
        return self._counted > self.MOST


@dataclass(frozen=True, slots=True)
class Empty:
    """What a list says when it has nothing to show: what that means, and what to do next (text, link)."""

    title: str
    text: str
    links: tuple[tuple[str, str], ...] = ()


class ScopedAdmin(ModelAdmin):
    """A page of rows that belong to organizations. The row's organization decides, with the person's role in it."""

    seen_by = standing.EVERYBODY
    changed_by = standing.STAFF
    # The scopes a mandate must have for a partner's people to see these rows, and to change them. Empty: none does.
    reads = writes = ""
    can_add = can_change = can_delete = True
    # How ending a row's life is called here, and what it means for the reader.
    ending = "Delete"
    ended = "deleted"
    ending_means = ""

    paginator = CappedPaginator
    show_full_result_count = False
    # Counts beside the filters would each read the whole table.
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    list_disable_select_all = True
    list_filter_sheet = True
    # Sorting by a column without an index reads every row.
    sortable_by: tuple[str, ...] = ()
    change_list_template = "accounts/change_list.html"
    change_form_template = "accounts/change_form.html"
    delete_confirmation_template = "accounts/end_one.html"

    def organization_of(self, row: Any) -> int:
        """The id of the organization that a row belongs to."""
        return int(row.organization_id)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: TenantQuerySet = super().get_queryset(request)
        return rows.visible_to(self.seeing(request))

    def profile_of(self, row: Any) -> int | None:
        """The id of the profile by which a row is within a mandate or not; None for none."""
        column = getattr(type(row)._default_manager.all(), "profile_column", "")
        found: int | None = getattr(row, column) if column else None
        return found

    def seeing(self, request: HttpRequest) -> Viewer:
        """The viewer of the rows that this person may see here."""
        return standing.of(request).viewer(self.seen_by, self.reads)

    def changing(self, request: HttpRequest) -> Viewer:
        """The viewer of the rows that this person may change here."""
        return standing.of(request).viewer(self.changed_by, self.writes)

    def _may(self, viewer: Viewer, row: Model | None) -> bool:
        if row is None:
            return viewer.sees_everything or bool(viewer.organization_ids or viewer.limited)
        return viewer.sees(self.organization_of(row), self.profile_of(row))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._may(self.seeing(request), None)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may(self.seeing(request), obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        # What is new belongs to no profile of a mandate yet.
        viewer = self.changing(request)
        return self.can_add and (viewer.sees_everything or bool(viewer.organization_ids))

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.can_change and self._may(self.changing(request), obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.can_delete and self._may(self.changing(request), obj)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only the filters that the page offers: anything else typed into the address could read every row."""
        return lookup in {getattr(offered, "parameter_name", None) for offered in self.list_filter}

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        related = db_field.remote_field.model._default_manager.all()
        if isinstance(related, TenantQuerySet):
            kwargs["queryset"] = related.visible_to(self.changing(request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What an empty form begins with: whoever has one profile only is not asked to look for it."""
        given: dict[str, Any] = super().get_changeform_initial_data(request)
        if "profile" not in {field.name for field in self.opts.fields} or self.asks_for_organization(request):
            return given
        profiles = self.opts.get_field("profile").remote_field.model._default_manager.all()
        ids = profiles.visible_to(self.changing(request)).values_list("pk", flat=True).order_by("pk")[:2]
        return {"profile": ids[0]} | given if len(ids) == 1 else given

    def asks_for_organization(self, request: HttpRequest) -> bool:
        """People who work for one organization are not asked which."""
        viewer = self.changing(request)
        return viewer.sees_everything or len(viewer.organization_ids) > 1

    def chosen_organization(self, request: HttpRequest, cleaned: Mapping[str, Any]) -> Organization:
        """The organization of a new row: the one chosen, or the person's only one."""
        if self.asks_for_organization(request):
            chosen: Organization = cleaned["organization"]
            return chosen
        only: Organization = Organization.objects.visible_to(self.changing(request)).get()
        return only

    # Lists

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        # Autocompletion hands over what came, and PostgreSQL refuses a text with NUL.
        if not search_term.isprintable():
            return queryset.none(), False
        return super().get_search_results(request, queryset, search_term)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Whose row it is stands in lists only for those who see several organizations."""
        viewer = self.seeing(request)
        several = viewer.sees_everything or len(viewer.organization_ids) + len(viewer.limited) > 1
        names = tuple(super().get_list_display(request))
        return names if several else tuple(name for name in names if name != "organization")

    def empty(self, request: HttpRequest, query: str, filtered: bool) -> Empty:
        """What an empty list says."""
        names = self.opts.verbose_name_plural
        if query or filtered:
            return Empty(f"No {names} match", "Look for something else, or take the filters off.", (("Show all", "?"),))
        return Empty(f"No {names} yet", "Nothing has been recorded so far.")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        title = str(self.opts.verbose_name_plural)
        response = super().changelist_view(request, {"title": title[:1].upper() + title[1:], **(extra_context or {})})
        changes = getattr(response, "context_data", None) and response.context_data.get("cl")
        if changes is not None:
            # The theme prints "N results (Show all)" wherever the two differ; the whole table is never counted.
            changes.full_result_count = changes.result_count
        if changes is not None and not changes.result_list:
            response.context_data["empty"] = self.empty(request, changes.query, changes.has_active_filters)
        return response

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        # Django's own would collect and delete rows past the verbs.
        actions.pop("delete_selected", None)
        return actions

    # Ending a row's life

    def end(self, request: HttpRequest, row: Any) -> None:
        """Call the verb that ends the row's life. Raises OnboardingError."""
        row.delete()

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.end(request, obj)

    def what_holds(self, row: Any) -> list[str]:
        """What stands against ending it, a few lines at most."""
        return []

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """No collecting of related rows: there may be a million of them, and the verb decides."""
        protected = [line for row in objs for line in self.what_holds(row)]
        return [str(row) for row in objs], {}, set(), protected

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        words = {"ending": self.ending, "ending_means": self.ending_means, "title": f"{self.ending}?"}
        try:
            return super().delete_view(request, object_id, words | (extra_context or {}))
        except OnboardingError as error:
            self.message_user(request, wording.sentence(error), messages.ERROR)
            return HttpResponseRedirect(self._list_address())

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:
        self.message_user(request, f"{obj_display} is {self.ended}.", messages.SUCCESS)
        return HttpResponseRedirect(self._list_address())

    def end_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Ask once, then end each of the selected rows by the verb."""
        rows = list(queryset[: MOST_AT_ONCE + 1])
        if len(rows) > MOST_AT_ONCE:
            self.message_user(request, f"At most {MOST_AT_ONCE} at once. Select fewer.", messages.ERROR)
            return None
        rows = [row for row in rows if self.has_delete_permission(request, row)]
        if not rows:
            self.message_user(request, f"None of these can be {self.ended} by you.", messages.ERROR)
            return None
        if not request.POST.get("post"):
            context = self.admin_site.each_context(request) | {
                "title": f"{self.ending} {len(rows)} {self.opts.verbose_name_plural}?",
                "rows": rows,
                "opts": self.opts,
                "ending": self.ending,
                "ending_means": self.ending_means,
                "action": request.POST["action"],
                "list_address": self._list_address(),
            }
            return TemplateResponse(request, "accounts/end_selected.html", context)
        done = 0
        for row in rows:
            try:
                self.end(request, row)
                done += 1
            except OnboardingError as error:
                self.message_user(request, f"{row}: {wording.sentence(error)}", messages.ERROR)
        if done:
            name = self.opts.verbose_name if done == 1 else self.opts.verbose_name_plural
            self.message_user(request, f"{done} {name} {self.ended}.", messages.SUCCESS)
        return None

    def _list_address(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return super().render_change_form(request, context | {"ending": self.ending}, *args, **kwargs)


class VerbAdmin(ScopedAdmin):
    """A page whose form is handed to a verb: forms know shapes, verbs decide, and a refusal stands at its field."""

    def apply(self, request: HttpRequest, cleaned: Mapping[str, Any], row: Any | None) -> Any:
        """Call the one verb that makes (`row` is None) or changes the row; gives the row. Raises OnboardingError."""
        raise NotImplementedError

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except OnboardingError as error:
            # The verb refused and nothing was written. The second pass shows the same form with the refusal in it.
            request.refusal = error  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.refusal = getattr(request, "refusal", None)
        return form

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        if change:
            self._keep_to_profiles(request, form)
        return self.apply(request, form.cleaned_data, form.instance if change else None)

    def _keep_to_profiles(self, request: HttpRequest, form: Any) -> None:
        """Whoever is limited to some profiles takes no row out of them. Raises OutsideMandate."""
        if "profile" not in form.cleaned_data:
            return
        profile = form.cleaned_data["profile"]
        if not self.changing(request).sees(self.organization_of(form.instance), profile and profile.pk):
            raise OutsideMandate(
                "Without such a profile it would be none of the mandate's.",
                field="profile",
                remedy="Choose one of the mandate's profiles.",
            )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Nothing: the verb wrote it."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing: the verb wrote it."""
