"""OnboardingError, the base of every refusal in this project.

An error knows what was wrong (its sentence), which rule it broke (`code`, stable, for machines) and what to do about
it (`remedy`). It knows nothing of HTTP: `config/problems.py` maps codes to statuses for partners.
"""


class OnboardingError(Exception):
    """Something was refused, and nothing was changed."""

    code = "refused"
    remedy = ""

    def __init__(self, detail: str, *, field: str | None = None, remedy: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        if remedy is not None:
            self.remedy = remedy
