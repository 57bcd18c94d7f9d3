"""Formats log records as JSON, one object a line, for programs that collect logs.

    {"time": "2026-10-31T13:03:22.123Z", "level": "INFO", "message": "...", "policy": "walker", ...}

A record has more fields if it was logged with `extra=fields(...)`.
"""

import json
import logging
import math
from collections.abc import Mapping

from entrain.quoting import shortened
from entrain.run.log_lines import MOST_LINE
from entrain_envs.log_lines import level_word, utc

_FIELDS = "fields"


def fields(**values: object) -> Mapping[str, object]:
    """Returns the argument `extra=` of a record whose JSON line has these fields."""
    return {_FIELDS: values}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time (UTC), level, message, its extra fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of one record."""
        line: dict[str, object] = {
            "time": utc(record.created),
            "level": level_word(record),
            "message": shortened(record.getMessage(), MOST_LINE),
        }
        for name, value in getattr(record, _FIELDS, {}).items():
            line[name] = None if isinstance(value, float) and not math.isfinite(value) else value
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def is_json_logged() -> bool:
    """True if this process logs JSON lines; then nothing else is printed between them."""
    handlers = logging.getLogger().handlers
    return any(isinstance(handler.formatter, JsonFormatter) for handler in handlers)
