"""Temporary Access Passes for Django, told to relying parties over OpenID Connect.

The map, in the order of the flow:

    policy                  1  who may hold a pass, and within which bounds
    issue                   2  issue and revoke: the administrators' verbs, and who may use them on whom
    own_pass                   what its holder sees of a pass, and deleting it
    redeem                  3  the only place where a pass is spent
    registration_session    4  what a pass opens: begin, current, end; which views it reaches
    methods                 5  what can be registered: one module per kind, behind one protocol
    authentication_context  6  acr, amr, auth_time, sid: read from the sign-in, told to OpenID Connect

    sign_in                 one record per authentication event; ending it ends its session and tokens
    sign_out                where a user is signed in; ending one of these, or all
    models                  the facts at rest            usability   may a pass be redeemed now, and if not, why
    passcode                the clear text and its hash  throttle    how often may one guess
    audit                   what happened, append-only   hooks       what a site may answer differently
    notices                 what people are told by mail about their account       mail   how it is sent
    user_agent              on what somebody signed in
    exceptions, signals, conf

    backends, middleware, decorators, forms, views, urls, admin, checks, management: the Django surface
    oidc                    an app of its own: django-oauth-toolkit made to tell and enforce the context
"""
