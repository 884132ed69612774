"""The pages: parse, call one verb, render.

signing_in       signing in by whichever method, the second step, the step-up, signing out
site_login       in place of signing in, where the site has a login page of its own
security_info    what one has, what is left to do, adding a method, finishing
method           one method: a name, removing it, "I lost this"
where_signed_in  one's sign-ins, and ending them
held_pass        deleting the pass that one holds

leading          where a page leads            passkey_script   what the passkey's script is told
"""
