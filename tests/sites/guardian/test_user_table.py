"""Django's stock user model has no index for names without regard to case: the check prints one that serves."""

from __future__ import annotations

import re

import pytest
from django.core.checks import run_checks
from django.db import connection


@pytest.mark.django_db(transaction=True)
def test_check__prints_the_index_that_the_stock_user_table_needs() -> None:
    (missing,) = (message for message in run_checks(databases=["default"]) if message.id == "tap_provider.W030")
    create, drop = re.findall(r"'((?:CREATE|DROP) [^']+)'", missing.hint)
    with connection.cursor() as cursor:
        cursor.execute(create)
    try:
        assert not [message for message in run_checks(databases=["default"]) if message.id == "tap_provider.W030"]
    finally:
        with connection.cursor() as cursor:
            cursor.execute(drop)
