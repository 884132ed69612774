"""Registered methods: by which sign-in each came; and the recovery codes, which are ours to keep."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class RegisteredMethod(models.Model):
    """When a method was registered and by which sign-in, whatever its kind stores. Method and sign-in may be gone."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=50)
    method_id = models.CharField(max_length=100)
    registered_at = models.DateTimeField()
    sign_in_id = models.UUIDField(null=True, db_index=True)
    removed_at = models.DateTimeField(null=True)  # kept: what came by it is still to be found

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "kind", "method_id"], name="tap_registered_method_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.method_id} · {self.user}"


class RecoveryCode(models.Model):
    """One of the codes that a user keeps for the day when their other methods are out of reach. Good once."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    code_hash = models.CharField(max_length=255)
    created_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "code_hash"], name="tap_recovery_code_once")]

    def __str__(self) -> str:
        return f"{self.user} · {self.created_at:%Y-%m-%d}"
