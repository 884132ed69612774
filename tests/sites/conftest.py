"""Fixtures for sites with Django's stock user model; the shared ones expect the example's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model


@pytest.fixture
def make_user(db: None) -> Callable[..., Any]:
    """Make a user of the site's model; the e-mail address is `<name>@example.test`."""

    def make(name: str, **fields: Any) -> Any:
        fields.setdefault("email", f"{name}@example.test")
        return get_user_model()._default_manager.create_user(username=name, **fields)

    return make
