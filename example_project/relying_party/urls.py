"""The relying party's pages. To register at the provider: the callbacks, and the back-channel logout URIs."""

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
    path("logout/<str:client_name>/", views.backchannel_logout, name="backchannel_logout"),
    path("sign-out/", views.sign_out, name="sign_out"),
]

handler404 = "example_project.relying_party.views.not_found"
