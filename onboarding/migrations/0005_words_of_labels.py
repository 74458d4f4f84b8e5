"""The words of the labels that are there already."""

import re
import unicodedata

from django.db import migrations

_ROWS_AT_ONCE = 2000
_WORD = re.compile(r"[^\W_]+")


def _words(label):
    # As `onboarding.search` had it when this was written.
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", label).casefold())
    plain = "".join(c for c in text if not unicodedata.combining(c))
    return sorted({found.encode()[:240] for found in _WORD.findall(plain)})


def fill(apps, schema_editor):
    Device = apps.get_model("onboarding", "Device")
    DeviceWord = apps.get_model("onboarding", "DeviceWord")
    last = 0
    while True:
        rows = list(
            Device.objects.filter(pk__gt=last).order_by("pk").values_list("pk", "organization_id", "label")[:_ROWS_AT_ONCE]
        )
        if not rows:
            return
        DeviceWord.objects.bulk_create(
            [
                DeviceWord(organization_id=organization, word=word, device_id=device)
                for device, organization, label in rows
                for word in _words(label)
            ],
            batch_size=1000,
            ignore_conflicts=True,
        )
        last = rows[-1][0]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("onboarding", "0004_search_and_figures")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
