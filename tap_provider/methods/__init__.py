"""Step 5. What can be registered: one module per kind behind one small protocol, and their registry.

kinds           the protocol: what a kind of method must be able to tell and do
registry        which kinds this site has; a third party adds its own in `AppConfig.ready()`
proof           what a login proved, marked on the user by the code that checked it
registration    may this session register now, what is left to do, and the record of what was registered
full_session    Django's `login()` observed and recorded, whoever calls it
two_steps       password, then a second factor
typed_names     under which user names the password is tried
step_up         adding to a full session what a stronger level lacks
own, changes    one's own methods; a name, removing, losing
provenance      which sign-in a method came by, and what came by it

passkey             WebAuthn by django-otp-webauthn; passkey_ceremony, passkey_texts: its pages' other half
totp                authenticator app by django-otp
recovery_codes      ten to keep, hashed, each good once
password            Django's own
login_page          whose login page the site has, and what it takes
other_factors       second factors of other packages, which no kind knows
login_checks        system checks of the ways in
otp_devices         what django-otp wants of every request
"""
