"""A user model that has little in common with Django's: no permissions, and groups of its own."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class ActiveUsers(BaseUserManager["Person"]):
    """Hides users who are not active, as sites do."""

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(is_active=True)


class Group(models.Model):
    """The site's own: its keys are those of other groups in Django's table."""

    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Person(AbstractBaseUser):
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    is_clerk = models.BooleanField(default=False)
    groups = models.ManyToManyField(Group)

    # Names that relations of ours must not take.
    sign_ins = models.PositiveIntegerField(default=0)
    recovery_codes = models.TextField(blank=True)
    registered_methods = models.TextField(blank=True)
    temporary_access_pass = models.TextField(blank=True)

    objects = ActiveUsers()

    USERNAME_FIELD = "email"


class PersonWithPermissions(Person):
    """An inherited user model, whose permissions are a method of its own."""

    class Meta:
        proxy = True

    def has_perm(self, name: str, obj: Any = None) -> bool:
        return self.is_clerk
