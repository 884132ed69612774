"""A user model such as an existing site may have: a user name, and beside it the user principal name."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower


class User(AbstractUser):
    upn = models.CharField("user principal name", max_length=254, unique=True)

    class Meta(AbstractUser.Meta):
        constraints = [models.UniqueConstraint(Lower("upn"), name="accounts_user_upn_regardless_of_case")]

    def __str__(self) -> str:
        return self.upn

    def save(self, *args: object, **kwargs: object) -> None:
        self.upn = self.upn or self.username  # `createsuperuser` asks for no UPN
        super().save(*args, **kwargs)  # type: ignore[arg-type]
