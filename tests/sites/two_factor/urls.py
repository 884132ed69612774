import two_factor.views
from django.http import HttpResponse
from django.urls import include, path
from two_factor.urls import urlpatterns as two_factor_urls

from tap_provider.backends import mark_proved


class LoginView(two_factor.views.LoginView):
    """The site's line for what two_factor has checked, as the reference on methods tells."""

    def done(self, form_list, **kwargs):
        if not self.remember_agent:  # a browser that is remembered has shown no code
            mark_proved(self.get_user(), "password")
        return super().done(form_list, **kwargs)


urlpatterns = [
    path("", lambda request: HttpResponse(f"{request.user.is_verified()}"), name="home"),
    path("account/login/", LoginView.as_view()),
    path("", include(two_factor_urls)),
    path("security/", include("tap_provider.registration_urls")),
]
