from django.apps import AppConfig


class DocumentsConfig(AppConfig):
    name = "tests.sites.guardian"
    label = "documents"
