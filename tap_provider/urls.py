"""The pages' addresses, our login page among them: `path("account/", include("tap_provider.urls"))`.

For a site whose login page is ours. One that has its own mounts `registration_urls`.
"""

from django.urls import include, path

from .methods.registry import all_kinds
from .views import held_pass, method, security_info, signing_in, where_signed_in

app_name = "tap_provider"

pages_of_both = [
    path("sign-in/step-up/", signing_in.step_up, name="step_up"),
    path("sign-in/pass/", signing_in.sign_in_with_pass, name="sign_in_with_pass"),
    path("sign-out/", signing_in.sign_out, name="sign_out"),
    path("security-info/", security_info.security_info, name="security_info"),
    path("security-info/finish/", security_info.finish, name="finish"),
    path("security-info/add/<slug:slug>/", security_info.register_method, name="register_method"),
    path("security-info/methods/<slug:slug>/<str:method_id>/", method.method, name="method"),
    path("security-info/methods/<slug:slug>/<str:method_id>/remove/", method.remove, name="remove_method"),
    path("security-info/methods/<slug:slug>/<str:method_id>/lost/", method.lost, name="lost_method"),
    path("security-info/sign-ins/end/", where_signed_in.end_sign_in, name="end_sign_in"),
    path("security-info/sign-out-everywhere/", where_signed_in.sign_out_everywhere, name="sign_out_everywhere"),
    path("security-info/pass/delete/", held_pass.delete_pass, name="delete_pass"),
    *[path(f"methods/{kind.slug}/", include(list(kind.urls()))) for kind in all_kinds()],
]

urlpatterns = [
    path("sign-in/", signing_in.sign_in, name="sign_in"),
    path("sign-in/verify/", signing_in.sign_in_second_step, name="sign_in_second_step"),
    *pages_of_both,
]
