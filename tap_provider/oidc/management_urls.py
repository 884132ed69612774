"""`oidc.urls` and the application pages: `path("o/", include("tap_provider.oidc.management_urls"))`, in its place.

The pages need the permissions of the application model. One namespace cannot be mounted twice, so this is both.
"""

from django.urls import path

from . import urls, views
from .pages import provider_pages

app_name = urls.app_name

urlpatterns = [
    *provider_pages(
        [
            path("applications/", views.ApplicationList.as_view(), name="list"),
            path("applications/register/", views.ApplicationRegistration.as_view(), name="register"),
            path("applications/<slug:pk>/", views.ApplicationDetail.as_view(), name="detail"),
            path("applications/<slug:pk>/delete/", views.ApplicationDelete.as_view(), name="delete"),
            path("applications/<slug:pk>/update/", views.ApplicationUpdate.as_view(), name="update"),
        ]
    ),
    *urls.urlpatterns,
]
