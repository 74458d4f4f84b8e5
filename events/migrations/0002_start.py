from django.db import migrations


def start_at_the_present(apps, schema_editor):
    """The feed begins with what happens from now on: what the history holds already is old news."""
    newest = apps.get_model("onboarding", "StateChange").objects.order_by("-id").values_list("id", flat=True).first()
    apps.get_model("events", "Sequencer").objects.get_or_create(pk=1, defaults={"read_to": newest or 0})


class Migration(migrations.Migration):
    dependencies = [("events", "0001_initial"), ("onboarding", "0001_initial")]

    operations = [migrations.RunPython(start_at_the_present, migrations.RunPython.noop)]
