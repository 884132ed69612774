from django.apps import AppConfig


class PlainUsersConfig(AppConfig):
    name = "tests.sites.plain_users"
    label = "plain_users"
