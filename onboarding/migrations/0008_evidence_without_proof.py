from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("onboarding", "0007_expired_certificates")]

    operations = [
        migrations.RemoveConstraint(model_name="redirectprofile", name="profile_unproven_evidence_known"),
        migrations.AlterField(
            model_name="redirectprofile",
            name="unproven_evidence",
            field=models.CharField(
                choices=[
                    ("record_all", "Only record anything without a certificate"),
                    ("record", "Only record reports without a token"),
                    ("apply", "Let everything move the state"),
                ],
                default="record",
                help_text="What nothing proves to be the phone's own may do to its state.",
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="redirectprofile",
            constraint=models.CheckConstraint(
                condition=models.Q(("unproven_evidence__in", ["record_all", "record", "apply"])),
                name="profile_unproven_evidence_known",
            ),
        ),
    ]
