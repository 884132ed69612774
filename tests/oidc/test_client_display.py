"""How a client is shown, and which names would pass for another's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from oauth2_provider.models import get_application_model

from tap_provider.oidc.client_display import is_name_of_another, shown_host, shown_name

from .conftest import REDIRECT_URI, Party, toolkit_settings

HOST = "relying-party.test"


@pytest.mark.parametrize(
    ("redirect_uri", "host"),
    [
        (REDIRECT_URI, HOST),
        ("https://relying-party.test:8443/callback/", f"{HOST}:8443"),
        ("https://intranet.example.com@evil.test/intranet.example.com", "evil.test"),
        ("https://INTRANET.test/", "intranet.test"),
        ("https://xn--ntranet-q9a.test/", "xn--ntranet-q9a.test"),
        ("https://bücher.test/", "xn--bcher-kva.test"),
        ("http://[::1]:8000/", "[::1]:8000"),
        ("http://127.0.0.1/", "127.0.0.1"),
        ("com.example.app:/callback", "com.example.app:"),
        ("com.evil.app://bank.example/callback", "com.evil.app:"),
    ],
)
def test_shown_host__is_where_the_answer_goes(redirect_uri: str, host: str) -> None:
    assert shown_host(redirect_uri) == host


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["", " ", "\u200b", "\u2060\u00ad", "\u3164\ufe0f\u2800"])
def test_shown_name__of_a_client_without_one_is_its_id(name: str, make_party: Callable[..., Party]) -> None:
    assert shown_name(make_party("portal", name=name).application) == "portal"


@pytest.mark.django_db
def test_shown_name__has_no_invisible_characters(make_party: Callable[..., Party]) -> None:
    """A bidirectional override would turn the text around it."""
    assert shown_name(make_party("portal", name="In\u202etra\u200bnet\t1").application) == "Intranet 1"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "name",
    [
        "Company Intranet",
        "company intranet",
        "CompanyIntranet",
        " Company  Intranet ",
        "Company\u00a0Intranet",
        "Company\u3000Intranet",
        "Comp\u200bany Intranet",
        "Company Intranet\u202c",
        "\uff23ompany \u2160ntranet",  # a full-width C, a Roman numeral one
        "COMPANY\u2028INTRANET",
        "Company lntranet",  # a small L
        "Company 1ntranet",
        "C0mpany Intranet",
        "Cornpany Intranet",
        "Company-Intranet",
        "Company\u2011Intranet",
        "Company_Intranet.",
        "\u2018Company Intranet\u2019",
        "Co\u0301mpany Intranet",
        "Company Intranet\U0001d159",
        *(f"Company{filler}Intranet" for filler in "\u034f\u115f\u17b4\u180b\u2800\u3164\ufe0f\uffa0\U000e0100"),
    ],
)
def test_is_name_of_another__as_a_reader_sees_it(name: str, make_party: Callable[..., Party]) -> None:
    make_party("first", name="Company Intranet")

    assert is_name_of_another(name)
    assert not is_name_of_another(name, client_id="first")


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["", " ", "Intranet", "Company Intranets"])
def test_is_name_of_another__other_names_are_free(name: str, make_party: Callable[..., Party]) -> None:
    make_party("first", name="Company Intranet")
    make_party("nameless", name="")

    assert not is_name_of_another(name)


@pytest.mark.django_db
def test_is_name_of_another__counts_the_id_by_which_a_nameless_client_is_shown(
    make_party: Callable[..., Party],
) -> None:
    make_party("portal", name="")
    imitation = make_party("imitation", name="Portal", registration_source="dcr")

    assert is_name_of_another("portal")
    assert shown_name(imitation.application) == "imitation"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "name",
    [
        "Intranet? You will be sent to: intranet",
        "It is from intranet.example.com",
        "Intranet. All is well",
        "https intranet: yes",
        "somebody@example",
        "A name that says far more than any application does",
    ],
)
def test_shown_name__of_a_client_that_named_itself_is_no_sentence_and_no_host(
    name: str, make_party: Callable[..., Party]
) -> None:
    assert shown_name(make_party("selfmade", name=name, registration_source="dcr").application) == "selfmade"
    assert shown_name(make_party("trusted", name=name).application) == name


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["Pay & Go", "Café René", "Payroll (2026)", "\u793e\u5185\u30dd\u30fc\u30bf\u30eb"])
def test_shown_name__of_a_client_that_named_itself_is_its_own_otherwise(
    name: str, make_party: Callable[..., Party]
) -> None:
    assert shown_name(make_party("selfmade", name=name, registration_source="dcr").application) == name


@pytest.mark.django_db
def test_shown_name__of_an_id_is_in_ascii(make_party: Callable[..., Party]) -> None:
    """An override of direction would turn the address around."""
    client_id = "https://evil.test/a%20b?c=\u202emoc.elpmaxe//:sptth"
    assert (
        shown_name(make_party(client_id, name="").application)
        == "https://evil.test/a%20b?c=%E2%80%AEmoc.elpmaxe//:sptth"
    )


# On the pages


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


@pytest.mark.django_db
def test_consent__shows_the_host_beside_the_name_that_the_client_gave_itself(
    full: Client, make_party: Callable[..., Party]
) -> None:
    """The same name as another client's; where the answer goes cannot be imitated."""
    make_party("intranet", name="Intranet", redirect_uris="https://intranet.example.com/")
    imitation = make_party("imitation", name="Intranet", skip_authorization=False)

    response = full.get(imitation.request().url)
    page = text_of(response)

    assert "Allow Intranet?" in page
    assert f"You will be sent to: {HOST}" in page
    assert "<img" not in response.content.decode()  # no logo, whatever the client says of one
    assert "tap_provider/oidc/authorize.html" in [template.name for template in response.templates]


@pytest.mark.django_db
def test_consent__shows_exactly_what_is_granted(full: Client, make_party: Callable[..., Party]) -> None:
    party = make_party("careful", skip_authorization=False)
    scopes = {"openid": "Know who you are", "profile": "Know your name", "payments": "", "email": "Know your address"}
    with toolkit_settings(SCOPES=scopes):
        page = full.get(party.request(scope="openid payments").url).content.decode()

    assert re.findall(r"<li>(.*?)</li>", page) == ["Know who you are", "payments"]


@pytest.mark.django_db
def test_consent__of_a_registration_only_session_shows_what_is_left(
    holder: Client, make_party: Callable[..., Party]
) -> None:
    party = make_party("careful", may_host_registration=True, skip_authorization=False)
    page = holder.get(party.request(scope="openid offline_access method_registration").url).content.decode()

    assert re.findall(r"<li>(.*?)</li>", page) == ["Know who you are", "Register sign-in methods with you"]


@pytest.mark.django_db
def test_choose_account__shows_the_host_too(full: Client, make_party: Callable[..., Party]) -> None:
    party = make_party("careful", name="Intranet")
    page = text_of(full.get(party.request(prompt="select_account").url))

    assert "Intranet asks with which account" in page
    assert f"You will be sent to: {HOST}" in page


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["device", "logout", "authorized tokens"])
def test_pages__show_an_imitation_by_its_client_id(page: str, full: Client, make_party: Callable[..., Party]) -> None:
    """Each page on which the toolkit shows a client by its name."""
    make_party("first", name="Intranet")
    model = get_application_model()
    grant_type = model.GRANT_DEVICE_CODE if page == "device" else model.GRANT_AUTHORIZATION_CODE
    fields = {"registration_source": "dcr", "authorization_grant_type": grant_type}
    imitation = make_party("imitation", name="Intra\u200bnet", client_type="public", **fields)
    if page == "device":
        body = urlencode({"client_id": "imitation", "scope": "openid"})
        form = "application/x-www-form-urlencoded"
        codes = Client().post("/o/device-authorization/", body, content_type=form).json()
        confirm = full.post("/o/device/", {"user_code": codes["user_code"]}).headers["Location"]
        shown = full.get(confirm)
    elif page == "logout":
        shown = full.get("/o/logout/", {"client_id": "imitation"})
    else:
        imitation.tokens(full, scope="openid")
        shown = full.get("/o/authorized_tokens/")
    text = text_of(shown)
    assert "imitation" in text
    assert "Intra" not in text
    assert model.objects.get(client_id="imitation").name == "Intra\u200bnet"
