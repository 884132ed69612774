from django.contrib import admin
from django.contrib.auth import get_user_model, login
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def by_hand(request, pk):
    """The idiom of many sites: the backend is named by hand."""
    user = get_user_model().objects.get(pk=pk)
    user.backend = "tap_provider.backends.ModelBackend"
    login(request, user)
    return HttpResponseRedirect("/")


urlpatterns = [
    path("", lambda request: HttpResponse(request.user.get_username()), name="home"),
    path("by-hand/<int:pk>/", by_hand),
    path("loginas/", include("loginas.urls")),
    path("hijack/", include("hijack.urls")),
    path("impersonate/", include("impersonate.urls")),
    path("security/", include("tap_provider.registration_urls")),
    path("admin/", admin.site.urls),
]
