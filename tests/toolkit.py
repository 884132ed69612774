"""Forget what the toolkit keeps in the process, between two tests."""

from __future__ import annotations

from oauth2_provider.views.mixins import OAuthLibMixin


def forget_cores() -> None:
    """Forget the toolkit's cores, which it caches on view classes whatever validator the settings name later."""
    classes = [OAuthLibMixin]
    for cls in classes:
        classes.extend(cls.__subclasses__())
        if "_oauthlib_core" in vars(cls):
            del cls._oauthlib_core
