from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("onboarding", "0008_evidence_without_proof")]

    operations = [
        migrations.AddField("device", "told", models.PositiveIntegerField(db_default=0, default=0)),
        migrations.AddField("device", "untold", models.PositiveIntegerField(db_default=0, default=0)),
        migrations.AddField("device", "told_since", models.DateTimeField(blank=True, null=True)),
    ]
