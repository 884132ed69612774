"""Where a page leads: `next` travels along, and only places of this host are honoured."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from ..methods.step_up import Way, way_past
from ..models import Level
from ..sign_in import sign_in_that_was

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from ..exceptions import RegistrationNotAllowed
    from ..models import SignIn


def lead_to_sign_in(request: HttpRequest) -> HttpResponse:
    """Send somebody whose session is over, or never was, to the sign-in page, and say which."""
    ended = sign_in_that_was(request)
    url = reverse("tap_provider:sign_in")
    query = {"next": here(request) if request.method == "GET" else reverse("tap_provider:security_info")}
    if ended is not None and not ended.is_registration_only:
        query["notice"] = "session_ended"
    elif ended is not None or request.method == "POST":  # nobody posts a form of ours without having been here
        query["notice"] = "ended"
    return HttpResponseRedirect(f"{url}?{urlencode(query)}")


def here(request: HttpRequest) -> str:
    """Return the address of this page, without what it says has just happened: that would be said once more."""
    query = request.GET.copy()
    for told in ("notice", "registered"):
        query.pop(told, None)
    return request.path + (f"?{query.urlencode(safe='/')}" if query else "")


def lead_to(name: str, request: HttpRequest, *args: str, **query: str) -> HttpResponse:
    """Redirect to one of our pages; `next` travels along."""
    wanted = next_of(request)
    query = {**query, "next": wanted} if wanted else query
    url = reverse(f"tap_provider:{name}", args=args)
    return HttpResponseRedirect(f"{url}?{urlencode(query)}" if query else url)


def next_of(request: HttpRequest) -> str:
    """Return where to go afterwards, if it is a place of ours."""
    return if_ours(request, request.POST.get("next", request.GET.get("next", "")))


def if_ours(request: HttpRequest, url: str) -> str:
    """Return this address if it is a place of ours, or nothing."""
    ours = url_has_allowed_host_and_scheme(url, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return url if ours else ""


def past_the_gate(way: Way, *, back: str) -> str:
    """Return the address where somebody gets what their session lacks, and comes back from."""
    if way is Way.SIGN_IN_ALONE:
        return f"{reverse('tap_provider:step_up')}?{urlencode({'level': Level.PHISHING_RESISTANT.value, 'next': back})}"
    return f"{reverse(f'tap_provider:{way.value}')}?{urlencode({'next': back})}"


def lead_past_the_gate(
    request: HttpRequest, refusal: RegistrationNotAllowed, sign_in: SignIn, *, back: str
) -> HttpResponse:
    """Ask for the step-up that is lacking, and come back; where only a pass would help, Security info says so."""
    way = way_past(refusal, sign_in, now=timezone.now())
    if way in {None, Way.PASS}:
        return lead_to("security_info", request)
    return HttpResponseRedirect(past_the_gate(way, back=back))


def login_url(request: HttpRequest, wanted: str) -> str:
    """Return the address of the site's login page (`LOGIN_URL`), from which one comes back to `wanted`."""
    url = resolve_url(django_settings.LOGIN_URL)
    if not wanted:
        return url
    host = urlsplit(url).netloc
    back = request.build_absolute_uri(wanted) if host and host != request.get_host() else wanted
    return redirect_to_login(back, url).url


def is_here(url: str, request: HttpRequest) -> bool:
    """Tell whether this address is of the page that is shown, whatever its query."""
    parts = urlsplit(url)
    return parts.netloc in {"", request.get_host()} and parts.path == request.path


def lead_away(request: HttpRequest) -> HttpResponse:
    """Redirect to `next`, or to where the site sends people after they signed in."""
    return HttpResponseRedirect(next_of(request) or resolve_url(django_settings.LOGIN_REDIRECT_URL))
