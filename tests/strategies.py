"""Hypothesis strategies for the values of this field."""

import string

from hypothesis import strategies as st

from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.states import Event

# Individual addresses: the group bit is clear, and zero is nobody's.
macs = st.integers(min_value=1, max_value=2**48 - 1).filter(lambda n: not n >> 40 & 1).map(MacAddress)
serials = st.text(string.ascii_letters + string.digits, min_size=5, max_size=32).map(SerialNumber.parse)
models = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z._+/-]{0,38}[0-9A-Za-z+]", fullmatch=True).map(ModelName.parse)
events = st.sampled_from(Event)

_names = st.sampled_from(["MA", "MAU", "PN", "PSN", "SN", "A", "P", "SWVER", "PRVTMR"])
_macros = st.one_of(
    _names.map(lambda name: f"${name}"),
    _names.map(lambda name: f"$({name})"),
    st.tuples(_names, st.integers(0, 20), st.integers(1, 20)).map(lambda t: f"$({t[0]}:{t[1]}:{t[2]})"),
    st.just("$$"),
)
_hosts = st.one_of(
    st.from_regex(r"[a-z][a-z0-9]{0,10}(?:\.[a-z][a-z0-9-]{0,8}[a-z0-9]){1,3}\.?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    _macros.filter(lambda macro: macro != "$$").map(lambda macro: f"{macro}.example.net"),
)
_ports = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
_segments = st.one_of(st.text("abcXYZ019-_.~%&=+,;()", max_size=8), _macros)
_paths = st.lists(_segments, max_size=4).map(lambda parts: "/" + "/".join(parts))
_urls = st.tuples(st.sampled_from(["tftp", "http", "https", "HTTPS"]), _hosts, _ports, _paths).map(
    lambda t: f"{t[0]}://{t[1]}{t[2]}{t[3]}"
)
_words = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
_quoted = st.text(string.ascii_letters + string.digits + " |()[]", max_size=8).map(lambda text: f'"{text}"')
_comparisons = st.one_of(
    st.tuples(st.one_of(_macros, _words), st.sampled_from(["=", "eq", "!=", "ne"]), st.one_of(_quoted, _words)),
    st.tuples(st.one_of(_macros, _words), st.sampled_from(["<", "lt", "<=", "le", ">", "gt", ">=", "ge"]), _words),
).map(" ".join)
_conditions = st.lists(_comparisons, min_size=1, max_size=3).map(lambda parts: f"({' and '.join(parts)})?")
_assignments = st.lists(_words.map(lambda word: f'A{word}="{word}"'), min_size=1, max_size=3).map(
    lambda parts: f"({';'.join(parts)})!"
)
_options = st.lists(
    st.tuples(st.sampled_from(["--key", "--uid", "--pwd"]), st.one_of(_words, _quoted.filter(lambda q: len(q) > 2))),
    min_size=1,
    max_size=3,
    unique_by=lambda option: option[0],
).map(lambda options: "[" + " ".join(f"{name} {value}" for name, value in options) + "] ")
_maybe_assigned = st.one_of(st.just(""), _assignments)
_maybe_optional = st.one_of(st.just(""), _options)
_conditional = st.tuples(_conditions, _maybe_assigned, _maybe_optional, _urls).map("".join)
_last = st.tuples(st.one_of(st.just(""), _conditions), _maybe_assigned, _maybe_optional, _urls).map("".join)

# Rules that follow the grammar; up to three alternatives.
profile_rules = (
    st.tuples(st.lists(_conditional, max_size=2), _last)
    .map(lambda t: " | ".join([*t[0], t[1]]))
    .filter(lambda text: len(text) <= 1024)
)
# Text made of the grammar's own pieces in any order: far likelier to reach its corners than arbitrary text.
rule_shards = st.lists(
    st.one_of(
        st.sampled_from(
            ["(", ")", ")?", ")!", "[", "]", "|", '"', "$", "$(", ":", "/", "://", "@", "?", "#", " ", ";", "="]
        ),
        st.sampled_from(
            [" and ", " eq ", ">=", "--key", "--srv", "--post", "gds://", "https://", "[::1]", "a" * 64, "é"]
        ),
        _macros,
        _words,
        _comparisons,
    ),
    max_size=25,
).map("".join)
