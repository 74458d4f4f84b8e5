"""Fields of the API's input: exact JSON types, unknown names refused, identifiers in their normal forms."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from django.http import QueryDict
from django.utils.dateparse import parse_datetime
from rest_framework import serializers

from onboarding.api.pagination import DEFAULT_LIMIT, MAX_LIMIT
from onboarding.errors import OnboardingError

# The largest id that the databases keep.
MAX_ID = 2**63 - 1


@cache
def _printer(shape: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    return shape()


def printed(shape: type[serializers.Serializer[Any]], row: Any) -> dict[str, Any]:
    """A row in this shape, by one serializer for all requests: to make one copies all its fields."""
    return dict(_printer(shape).to_representation(row))


@cache
def _reader(shape: "type[Input]", partial: bool) -> "Input":
    """One serializer for all requests: to make one copies all its fields, and validation keeps nothing in it."""
    return shape(partial=partial)


class Input(serializers.Serializer[Any]):
    """A body or query that takes its own fields and no others."""

    def to_internal_value(self, data: Any) -> Any:
        names = data if isinstance(data, Mapping) else ()
        unknown = [str(name) for name in names if name not in self.fields]
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if not unknown:
                raise
            raise serializers.ValidationError({**error.detail, **self._refusals(unknown)}) from error  # type: ignore[dict-item]
        if unknown:
            raise serializers.ValidationError(self._refusals(unknown))
        return values

    def _refusals(self, unknown: list[str]) -> dict[str, list[str]]:
        sentence = f"This cannot be set here. Known are: {', '.join(self.fields)}."
        return {name[:64]: [sentence] for name in unknown[:20]}

    @classmethod
    def read(cls, data: Any, *, partial: bool = False) -> dict[str, Any]:
        """The values of a body or query. Raises ValidationError."""
        if isinstance(data, QueryDict):
            repeated = {name: ["Give this once."] for name, values in data.lists() if len(values) > 1}
            if repeated:
                raise serializers.ValidationError(repeated)
            data = data.dict()
        return dict(_reader(cls, partial).run_validation(data))


class Text(serializers.CharField):
    """A JSON string, taken as it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class Number(serializers.IntegerField):
    """A JSON integer."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return data


class Flag(serializers.BooleanField):
    """`true` or `false`."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Choice(serializers.ChoiceField):
    """One of some texts."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class Time(serializers.DateTimeField):
    """A moment in RFC 3339, with its offset: a time without one would mean different moments to different readers."""

    default_error_messages = {
        "invalid": "This is not a time in RFC 3339 with an offset, as 2026-11-22T09:30:00Z. (In a URL write + as %2B.)"
    }

    def to_internal_value(self, value: Any) -> datetime:
        try:
            moment = parse_datetime(value) if isinstance(value, str) else None
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail("invalid")
        return super().to_internal_value(moment)


class Parsed(Text):
    """An identifier, read by its own type's parser."""

    def __init__(self, parse: Callable[[str], Any], **options: Any) -> None:
        super().__init__(**options)
        self._parse = parse

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        try:
            return self._parse(text)
        except OnboardingError as error:
            raise serializers.ValidationError(error.detail, code=error.code) from error


class PageQuery(Input):
    """What every list takes."""

    limit = serializers.IntegerField(min_value=1, max_value=MAX_LIMIT, required=False, default=DEFAULT_LIMIT)
    cursor = serializers.CharField(required=False, max_length=512, help_text="`next` of the page before.")
