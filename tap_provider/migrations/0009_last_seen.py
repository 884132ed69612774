from datetime import timedelta

from django.conf import settings
from django.db import migrations, models
from django.utils import timezone


def as_if_seen_now(apps, schema_editor):
    """Nobody knows when the open ones were last seen: this is the longest that their sessions can last unused."""
    now = timezone.now()
    open_ones = apps.get_model("tap_provider", "SignIn").objects.using(schema_editor.connection.alias).filter(ended_at=None)
    open_ones.update(last_seen_at=now)
    expires_at = now + timedelta(seconds=settings.SESSION_COOKIE_AGE)
    open_ones.filter(pass_id=None).update(session_expires_at=expires_at)


class Migration(migrations.Migration):

    dependencies = [
        ('tap_provider', '0008_removed_methods'),
    ]

    operations = [
        migrations.AddField(
            model_name='signin',
            name='last_seen_at',
            field=models.DateTimeField(null=True, verbose_name='last seen at'),
        ),
        migrations.AddField(
            model_name='signin',
            name='session_expires_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.RunPython(as_if_seen_now, migrations.RunPython.noop),
    ]
