"""What a reader may ask: one statement that reads, without the functions that reach files or the network.

The engine's own read-only mode is not enough: it lets file(), INTO OUTFILE, KILL and some table functions through. A statement is
judged, and then run, in the engine's own formatting of it (formatQuery), so that no comment, quote or second statement can hide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = re.compile(
    r"""
      '(?:[^'\\]|\\.|'')*'            # string
    | `(?P<back>(?:[^`\\]|\\.|``)*)`  # quoted identifier
    | "(?P<double>(?:[^"\\]|\\.|"")*)"
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | \s+
    | .
    """,
    re.VERBOSE | re.DOTALL,
)

_STATEMENTS = frozenset({"SELECT", "WITH", "SHOW", "DESC", "DESCRIBE", "EXPLAIN", "EXISTS"})

#: Table functions that only compute.
_HARMLESS = frozenset(
    {"numbers", "numbers_mt", "zeros", "zeros_mt", "view", "values", "generateseries", "generate_series", "null", "format"}
)

#: Functions that read files, call out, or only waste time.
_DENIED = frozenset({"file", "sleep", "sleepeachrow", "showcertificate", "catboostevaluate", "hascolumnintable", "eval"})

#: What a reader may set for a query (it cannot raise a limit: those are set afterwards).
ALLOWED_SETTINGS = frozenset(
    {
        "date_time_input_format",
        "date_time_output_format",
        "cast_string_to_dynamic_use_inference",
        "session_timezone",
        "join_use_nulls",
        "max_threads",
        "max_block_size",
        "final",
        "group_by_use_nulls",
        "output_format_json_quote_64bit_integers",
        "output_format_json_quote_denormals",
        "output_format_native_write_json_as_string",
        "extremes",
        "log_comment",
    }
)

#: Sent by clients, of no meaning here (the embedded engine logs no queries).
IGNORED_SETTINGS = frozenset({"cancel_http_readonly_queries_on_client_close", "async_insert", "insert_deduplicate", "readonly"})

#: On every reader's query; seconds, bytes, rows. Large sorts and groupings go to disk rather than fail.
LIMITS = {
    "max_execution_time": "300",
    "max_memory_usage": str(2 << 30),
    "max_bytes_before_external_group_by": str(512 << 20),
    "max_bytes_before_external_sort": str(512 << 20),
    "max_result_rows": "5000000",
    "max_result_bytes": str(1 << 30),
    "max_threads": "4",
}


def forbidden_functions(table_functions: Iterable[str]) -> frozenset[str]:
    """Lower-case names that a reader may not call, given all table functions of the engine."""
    return frozenset({name.lower() for name in table_functions} - _HARMLESS) | _DENIED


def objection(formatted: str, forbidden: frozenset[str]) -> str | None:
    """Why a statement, as formatted by the engine, is refused; None if it may run."""
    tokens = [match for match in _TOKEN.finditer(formatted) if not match[0].isspace()]
    words = [match["word"].upper() if match["word"] else match[0] for match in tokens]
    first = next((word for word in words if word != "("), "")
    if first not in _STATEMENTS:
        return f"only reading is allowed here, not {first[:40] or 'an empty statement'}"
    for index, match in enumerate(tokens):
        following = words[index + 1] if index + 1 < len(words) else ""
        if words[index] == ";" and following:
            return "one statement at a time"
        if words[index] == "INTO" and following == "OUTFILE":
            return "INTO OUTFILE is not allowed here"
        if words[index] == "FROM" and following == "INFILE":
            return "FROM INFILE is not allowed here"
        name = match["word"] or match["back"] or match["double"]
        if following == "(" and name is not None:
            name = name.lower()
            if name in forbidden or name.startswith("ai"):
                return f"the function {name} is not allowed here"
    return None
