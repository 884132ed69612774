"""Under which name axes counts a failure, as the reference on pages tells."""


def username(request, credentials=None):
    typed = credentials or getattr(request, "data", request.POST)
    return typed.get("username") or typed.get("upn")
