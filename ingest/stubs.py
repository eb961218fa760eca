"""What SDKs ask for besides sending events: settings and feature flags. They want JSON of a certain shape, or they send nothing,
or ask again and again; so they get the smallest that lets them go on. Pure, and independent of Kafka."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import msgspec

from ingest.answers import JSON, Answer
from ingest.keys import authorization_key
from ingest.protocols.sensors_form import field_text, read_fields

METHODS = ("GET", "POST")
_HEADERS = {"Cache-Control": "private, max-age=60"}
_NO_STORE = {"Cache-Control": "no-store"}
_encode = msgspec.json.Encoder().encode
_HOST = re.compile(r"[A-Za-z0-9.\-_\[\]:]{1,255}")


class Asked(NamedTuple):
    """A request, as far as a stub looks at it."""

    query: str
    headers: Mapping[str, str]


Stub = Callable[[Asked], Answer]

_POSTHOG_CONFIG = {
    "supportedCompression": ["gzip", "gzip-js"],
    "hasFeatureFlags": False,
    "sessionRecording": False,
    "surveys": False,
    "productTours": False,
    "heatmaps": False,
    "captureDeadClicks": False,
    "capturePerformance": False,
    "errorTracking": {"autocaptureExceptions": False},
    "autocapture_opt_out": False,
    "analytics": {"endpoint": "/i/v0/e/"},
    "elementsChainAsString": True,
    "siteApps": [],
    "defaultIdentifiedOnly": True,
}
_POSTHOG_FLAGS = {
    "flags": {},
    "featureFlags": {},
    "featureFlagPayloads": {},
    "errorsWhileComputingFlags": False,
    "requestId": "footfall",
    "supportedCompression": ["gzip", "gzip-js"],
    "sessionRecording": False,
    "config": {},
}


def stub_of(path: str) -> Stub | None:
    """What answers a path; None for a path that is none of these."""
    found = _FIXED.get(path)
    if found is not None:
        return found
    if match := _SEGMENT.fullmatch(path):
        return partial(_segment_settings, match[1])
    if match := _POSTHOG.fullmatch(path):
        return _posthog_script if match[2] else _posthog_config
    return None


def _segment_settings(key: str, asked: Asked) -> Answer:
    """Of analytics.js, Kotlin and Swift. Where they send to is where they asked, over TLS where that was the page's way."""
    segment: dict[str, object] = {"apiKey": key, "unbundledIntegrations": [], "addBundledMetadata": True}
    host = asked.headers.get("Host", "")
    if _HOST.fullmatch(host):
        segment["apiHost"] = f"{host}/v1"
        origin = asked.headers.get("Origin", "") or asked.headers.get("Referer", "")
        scheme = asked.headers.get("X-Forwarded-Proto", "") or origin.partition("://")[0]
        if scheme in ("http", "https"):
            segment["protocol"] = scheme
    track = {"__default": {"enabled": True, "integrations": {}}}
    settings = {
        "integrations": {"Segment.io": segment},
        "plan": {"track": track, "identify": {"__default": {"enabled": True}}, "group": {"__default": {"enabled": True}}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }
    return Answer(200, JSON, _encode(settings), _HEADERS)


def _rudder_config(asked: Asked) -> Answer:
    """Of RudderStack's browser and mobile SDKs: a source that is enabled and has no destinations besides us."""
    fields = read_fields(asked.query.encode("utf-8", "surrogatepass"))
    key = field_text(fields, "writeKey") or authorization_key(asked.headers.get("Authorization", ""))
    quiet = {"errors": {"enabled": False}, "metrics": {"enabled": False}}
    source = {
        "id": "footfall",
        "name": "footfall",
        "writeKey": key[:256].encode("utf-8", "replace").decode(),
        "workspaceId": "footfall",
        "enabled": True,
        "config": {"statsCollection": quiet},
        "destinations": [],
        "connections": [],
        "dataplanes": {},
    }
    found = {"source": source, "isHosted": True, "updatedAt": "2026-01-01T00:00:00Z"}
    return Answer(200, JSON, _encode(found), _HEADERS)


def _posthog_config(_: Asked) -> Answer:
    return Answer(200, JSON, _encode(_POSTHOG_CONFIG), _HEADERS)


def _posthog_script(_: Asked) -> Answer:
    """The same as a script: without it in there, the SDK asks for the JSON."""
    return Answer(200, "application/javascript", b"/* */", _HEADERS)


def _posthog_flags(_: Asked) -> Answer:
    return Answer(200, JSON, _encode(_POSTHOG_FLAGS), _NO_STORE)


def _posthog_none(name: str, _: Asked) -> Answer:
    return Answer(200, JSON, _encode({name: []}), _NO_STORE)


_SEGMENT = re.compile(r"/v1/projects/([^/]+)/settings")
_POSTHOG = re.compile(r"/array/([^/]+)/config(\.js)?")
_FIXED: dict[str, Stub] = {
    **dict.fromkeys(("/sourceConfig/", "/sourceConfig"), _rudder_config),
    **dict.fromkeys(("/flags/", "/flags", "/decide/", "/decide"), _posthog_flags),
    "/api/surveys/": partial(_posthog_none, "surveys"),
    "/api/early_access_features/": partial(_posthog_none, "earlyAccessFeatures"),
}
#: All paths, for the description; {key} stands for a write key.
PATHS = (*_FIXED, "/v1/projects/{key}/settings", "/array/{key}/config", "/array/{key}/config.js")
