"""The addresses of the site: ours, and a page that shows whom the site knows."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


@login_required
def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username())


urlpatterns = [path("", home), path("account/", include("tap_provider.urls"))]
