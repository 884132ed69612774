"""A user's authentication methods in django-admin: issue a pass, show its passcode once, revoke it.

The passcode is in the one response to the POST that issued it, which no cache may keep: never in a redirect, a
message, the session or the LogEntry.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.widgets import AdminSplitDateTime, AdminTextareaWidget
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ..addresses import pass_sign_in_url
from ..decorators import no_store
from ..exceptions import AmbiguousUpn, InvalidPass, IssueNotAllowed, RevokeNotAllowed
from ..forms import FindUserForm, IssuePassForm
from ..hooks import find_user, get_hooks
from ..issue import IssuedPass, issue_pass, lifetime_of, revoke_pass
from ..methods.registry import all_kinds
from ..models import SignIn, TemporaryAccessPass
from ..policy import resolve_policy, usability_of

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

NAME = "tap_provider_user_authentication_methods"


class IssuePassAdminForm(IssuePassForm):
    class Media:
        js = ["admin/js/jquery.init.js"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["starts_at"].widget = AdminSplitDateTime()
        self.fields["reason"].widget = AdminTextareaWidget(attrs={"rows": 3})


class UserAuthenticationMethodsMixin:
    """Put this before the base of the site's own user admin: it adds *Authentication methods* to each user's page."""

    change_form_template: Any = "tap_provider/admin/user_change_form.html"


@admin.register(TemporaryAccessPass)
class TemporaryAccessPassAdmin(admin.ModelAdmin):
    list_display = ("user", "usability", "starts_at", "expires_at", "is_usable_once", "redemption_count", "created_by")
    list_filter = ("is_usable_once",)
    list_select_related = ("user", "created_by")
    ordering = ("-created_at",)
    actions = None  # the bulk deletion would bypass the verb

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a pass is never altered: it is replaced or revoked

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Keep the list from being asked about hashes, a character at a time."""
        return not lookup.startswith("passcode_hash") and bool(super().lookup_allowed(lookup, value, request))  # type: ignore[arg-type]

    @admin.display(description=_("usability"))
    def usability(self, obj: TemporaryAccessPass) -> str:
        return str(usability_of(obj, resolve_policy(obj.user), now=timezone.now()).label)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("users/<path:user_id>/add/temporary-access-pass/", wrap(self.issue_view), name=f"{NAME}_issue"),
            path("users/<path:user_id>/add/", wrap(self.choose_view), name=f"{NAME}_add"),
            path("users/<path:user_id>/revoke/", wrap(self.revoke_view), name=f"{NAME}_revoke"),
            path("users/<path:user_id>/", wrap(self.methods_view), name=NAME),
        ]
        return own + super().get_urls()

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Ask whom the pass is for, then go on at that user's authentication methods."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = FindUserForm(request.GET if "upn" in request.GET else None)
        if form.is_valid():
            try:
                user = find_user(form.cleaned_data["upn"])
            except AmbiguousUpn as refusal:
                form.add_error("upn", str(refusal.message))
            else:
                if user is not None:
                    return HttpResponseRedirect(self._url("issue", user))
                form.add_error("upn", _("There is no such user."))
        return self._render(request, "find_user.html", title=_("Issue a Temporary Access Pass"), form=form)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Deleting is revoking."""
        held = self.get_object(request, unquote(object_id))
        if held is None:
            raise Http404
        return HttpResponseRedirect(self._url("revoke", held.user))

    def methods_view(self, request: HttpRequest, user_id: str) -> HttpResponse:
        """List what a user can sign in with, their pass and their open sign-ins."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        user = _find(user_id)
        held = TemporaryAccessPass.objects.filter(user=user).select_related("created_by").first()
        return self._render(
            request,
            "authentication_methods.html",
            title=_("Authentication methods"),
            user_shown=user,
            held=held,
            usability=self.usability(held) if held is not None else "",
            kinds=[(kind, kind.methods(user)) for kind in all_kinds()],
            sign_ins=SignIn.objects.not_over(now=timezone.now()).filter(user=user).order_by("-created_at")[:20],
            can_issue=self.has_add_permission(request),
            can_revoke=self.has_delete_permission(request),
        )

    def choose_view(self, request: HttpRequest, user_id: str) -> HttpResponse:
        """Choose which method to add: an administrator can add a Temporary Access Pass."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return self._render(request, "add_method.html", title=_("Add authentication method"), user_shown=_find(user_id))

    @sensitive_variables()
    def issue_view(self, request: HttpRequest, user_id: str) -> HttpResponse:
        """Issue a pass and show its passcode, this once."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        user = _find(user_id)
        policy = resolve_policy(user)
        initial = {
            "lifetime_minutes": policy.default_lifetime // timedelta(minutes=1),
            "is_usable_once": policy.one_time_only,
        }
        form = IssuePassAdminForm(request.POST or None, initial=initial)
        if request.method == "POST" and form.is_valid():
            issued = _issue(request, user, form)
            if issued is not None:
                self.log_addition(request, issued.temporary_access_pass, "Temporary Access Pass issued.")
                return self._render_passcode(request, user, issued)
        return self._render(
            request,
            "issue_pass.html",
            title=_("Add Temporary Access Pass"),
            user_shown=user,
            form=form,
            media=self.media + form.media,
            held=TemporaryAccessPass.objects.filter(user=user).first(),
            low_minutes=policy.minimum_lifetime // timedelta(minutes=1),
            high_minutes=policy.maximum_lifetime // timedelta(minutes=1),
        )

    def revoke_view(self, request: HttpRequest, user_id: str) -> HttpResponse:
        """Ask, then revoke."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        user = _find(user_id)
        held = get_object_or_404(TemporaryAccessPass, user=user)
        if request.method == "POST":
            try:
                revoke_pass(actor=request.user, temporary_access_pass=held, now=timezone.now())
            except RevokeNotAllowed as refusal:
                messages.error(request, str(refusal.message))
            else:
                self.log_deletions(request, [held])  # type: ignore[arg-type]  # it only iterates
                messages.success(request, _("The Temporary Access Pass was revoked, and what it had opened has ended."))
            return HttpResponseRedirect(self._url("", user))
        return self._render(
            request, "revoke_pass.html", title=_("Revoke Temporary Access Pass"), user_shown=user, held=held
        )

    def _url(self, name: str, user: Any) -> str:
        view = f"admin:{NAME}_{name}" if name else f"admin:{NAME}"
        return reverse(view, args=[quote(user.pk)], current_app=self.admin_site.name)

    def _render_passcode(self, request: HttpRequest, user: Any, issued: IssuedPass) -> HttpResponse:
        response = self._render(
            request,
            "passcode.html",
            title=_("Temporary Access Pass issued"),
            user_shown=user,
            held=issued.temporary_access_pass,
            passcode=issued.passcode_for_reading,
            sign_in_url=pass_sign_in_url(issued.temporary_access_pass.pk, request=request),
        )
        no_store(response)
        # Rendered here, below `sensitive_variables`: a template's fault must not report the passcode.
        return response.render()

    def _render(self, request: HttpRequest, template_name: str, *, title: Any, **context: Any) -> TemplateResponse:
        request.current_app = self.admin_site.name  # a site may have several
        # Those that a page has not are named all the same: django-admin's templates and ours ask for them.
        common = {"title": title, "subtitle": None, "content": "", "opts": self.opts, "media": self.media}
        absent = {"user_shown": None, "upn": ""}
        context = {**self.admin_site.each_context(request), **common, **absent, **context}
        if context["user_shown"] is not None:
            context["upn"] = get_hooks().get_upn(context["user_shown"])
            context["user_opts"] = get_user_model()._meta
        return TemplateResponse(request, f"tap_provider/admin/{template_name}", context)


def _issue(request: HttpRequest, user: Any, form: IssuePassForm) -> IssuedPass | None:
    minutes = form.cleaned_data["lifetime_minutes"]
    try:
        return issue_pass(
            actor=request.user,
            user=user,
            now=timezone.now(),
            starts_at=form.cleaned_data["starts_at"],
            lifetime=None if minutes is None else lifetime_of(minutes),
            is_usable_once=form.cleaned_data["is_usable_once"],
            reason=form.cleaned_data["reason"],
        )
    except (InvalidPass, IssueNotAllowed) as refusal:
        field = {"lifetime": "lifetime_minutes"}.get(refusal.field or "", refusal.field)
        form.add_error(field, str(refusal.message))
    return None


def _find(user_id: str) -> Any:
    user_model = get_user_model()
    try:
        return get_object_or_404(user_model, pk=user_model._meta.pk.to_python(unquote(user_id)))
    except (ValidationError, ValueError) as error:
        raise Http404 from error
