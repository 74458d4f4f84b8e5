"""Answers to writes with an Idempotency-Key."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_mandates_and_sealed_audit")]

    operations = [
        migrations.CreateModel(
            name="KeptAnswer",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("fingerprint", models.CharField(max_length=64)),
                ("status", models.SmallIntegerField()),
                ("answer", models.BinaryField(help_text="Sealed. Empty: too long to be kept.")),
                ("at", models.DateTimeField(db_index=True)),
            ],
        ),
    ]
