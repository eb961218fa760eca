"""What to do about each reason. Reasons are those of all stages: the collector's are in ingest.reasons."""

from __future__ import annotations

_REREAD = "send the collector SIGHUP"

MENDING = {
    "unknown_key": f"Give an app of the plan this write key (apps.write_keys), {_REREAD}, then resubmit.",
    "revoked_key": "An app still sends with a key that was withdrawn: have it use a new one. To take it after all, move the key "
    f"from apps.revoked_keys to apps.write_keys, {_REREAD}, then resubmit.",
    "bad_origin": f"If that site may send, add it to collector.cors_origins, {_REREAD}, then resubmit.",
    "bad_body": "The body is no envelope of this SDK: look at the path the SDK is set to, and at proxies that change bodies.",
    "bad_encoding": "The body was cut off or compressed in a way that is not supported: look at proxies and the SDK.",
    "bad_json": "The event is no JSON that all readers agree on (NaN, a lone surrogate, broken syntax): mend the tracking point.",
    "bad_event": "A field is missing or of another type, at the path in the detail: mend the tracking point.",
    "bad_time": "Send milliseconds since 1970, or ISO 8601: mend the tracking point.",
    "no_person": "Send a user id or an anonymous id with every event: mend the tracking point.",
    "too_large": f"Send less; or raise collector.max_event_bytes, max_body_bytes or max_inflated_bytes, {_REREAD}, "
    "then resubmit what was kept whole.",
    "too_deep": "Send properties that are less nested: mend the tracking point.",
    "too_many": f"Raise collector.max_batch_events ({_REREAD}), or let the SDK send smaller batches; then resubmit.",
    "plan": "Mend the tracking point; or, where the app is right, change its schema in the plan (`footfall plan check`), "
    f"{_REREAD}, then resubmit.",
    "encrypted": "Switch the SDK's encryption off for this collector: Footfall has no key to such envelopes.",
    "unforeseen": "A fault of Footfall: the collector's log of that moment has it. Resubmit with a version that has mended it.",
    "bad_line": "No event line was written into the events topic by another program than the collector: mend that program.",
    "bad_merge": "Something else than a worker wrote this into the merges topic, or a newer worker did: mend that, or update all "
    "workers. If it told who is who, have the SDK's login or alias call come again.",
    "unknown_app": "Put the app back into the plan, restart collector and worker, then resubmit.",
    "wrong_partition": "Another program wrote it into the wrong partition (murmur2 of the person is right): mend it, resubmit.",
    "received_in_future": "The clock of whoever wrote it is ahead of the broker's: set it right, then resubmit.",
    "clickhouse_refused": "ClickHouse could not store this row; it was counted. The detail says what it cannot take.",
}
UNKNOWN = "No advice is known for this reason."
