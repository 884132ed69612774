"""The relying party's pages; the two callbacks are the redirect URIs to register at the provider."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("sign-in/<str:client_name>/", views.sign_in, name="sign_in"),
    path("callback/<str:client_name>/", views.callback, name="callback"),
    path("claims/", views.claims, name="claims"),
    path("claims.json", views.claims_json, name="claims_json"),
    path("vault/", views.vault, name="vault"),
    path("vault/refused/", views.vault_refused, name="vault_refused"),
    path("sign-out/", views.sign_out, name="sign_out"),
]

handler404 = "example_project.relying_party.views.not_found"
