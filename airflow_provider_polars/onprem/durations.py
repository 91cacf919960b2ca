"""Spans of time as the server reads them: ``"5 secs"``, ``"1h 30m"``, ``"PT5S"``."""

from __future__ import annotations

import re

from airflow_provider_polars.exceptions import ConfigurationError

_UNITS = {
    1e-9: "ns nsec nsecs nano nanos nanosecond nanoseconds",
    1e-6: "us µs usec usecs micro micros microsecond microseconds",
    1e-3: "ms msec msecs milli millis millisecond milliseconds",
    1.0: "s sec secs second seconds",
    60.0: "m min mins minute minutes",
    3600.0: "h hr hrs hour hours",
}
_SECONDS = {name: seconds for seconds, names in _UNITS.items() for name in names.split()}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-zµ]+)\s*,?")
_ISO = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", re.IGNORECASE)


def parse(text: str) -> float:
    """Return a span of time in seconds.

    Units go up to hours. Whether the server takes days is unverified, and hours say the same.

    :raises ConfigurationError: for text that is no span of time, and for none at all (0).
    """
    iso = _ISO.fullmatch(text)
    parts = _PART.findall(text)
    if iso is not None and any(iso.groups()):
        hours, minutes, seconds = (float(part or 0) for part in iso.groups())
        total = hours * 3600 + minutes * 60 + seconds
    elif parts and _PART.sub("", text).strip() == "" and all(unit.lower() in _SECONDS for _, unit in parts):
        total = sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts)
    else:
        raise ConfigurationError('must be a span of time up to hours, such as "5 secs", "10 mins" or "PT5S"')
    if total <= 0:
        raise ConfigurationError("must be longer than nothing")
    return total
