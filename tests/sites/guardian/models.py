"""Two kinds of objects: a folder's permissions are in guardian's own tables, a document's in tables of their own."""

from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase


class Folder(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        permissions = [("approve", "Can approve")]  # one name for two models

    def __str__(self) -> str:
        return self.name


class Document(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        permissions = [("approve", "Can approve")]  # one name for two models

    def __str__(self) -> str:
        return self.name


class DocumentUserObjectPermission(UserObjectPermissionBase):
    content_object = models.ForeignKey(Document, on_delete=models.CASCADE)


class DocumentGroupObjectPermission(GroupObjectPermissionBase):
    content_object = models.ForeignKey(Document, on_delete=models.CASCADE)
