"""The addresses of the site: ours, and a page that shows whom the site knows."""

from tests.sites.channels.urls import urlpatterns

__all__ = ["urlpatterns"]
