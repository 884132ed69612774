"""Step 5. What can be registered: one module per kind behind one small protocol, and their registry.

kinds           the protocol: what a kind of method must be able to tell and do
registry        which kinds this site has; a third party adds its own in `AppConfig.ready()`
registration    may this session register now, what is left to do, and the record of what was registered
full_session    signing in with registered methods: Django's `login()` observed and recorded

passkey         WebAuthn by django-otp-webauthn       totp   authenticator app by django-otp
password        Django's own                          recovery_codes   ten to keep, hashed, each good once
otp_devices     what django-otp wants of every request
"""
