"""What schemathesis has to know to get further than the first check of each route."""

import base64
import itertools
import os

import schemathesis
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

schemathesis.openapi.media_type("image/png", st.just(PICTURE))
schemathesis.openapi.media_type("application/offset+octet-stream", st.binary(max_size=100))
schemathesis.openapi.format("media-range", st.sampled_from(["image/png", "image/jpeg", "image/*"]))

known_ids = itertools.cycle(os.environ["KNOWN_IDS"].split(","))


@schemathesis.hook
def filter_case(context, case):
    """A header that nobody knows is no fault of a request (RFC 9110, section 5.1)."""
    return "x-schemathesis-unknown-property" not in (case.headers or {})


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    # Objects that are there; stateful tests use their own.
    if "id" in (case.path_parameters or {}) and case.meta.phase.name != "stateful":
        case.path_parameters["id"] = next(known_ids)
    # `ids` goes with no other parameter, which no schema of single parameters can say.
    if case.path == "/media" and "ids" in (case.query or {}):
        case.query = {"ids": case.query["ids"]}
