"""What schemathesis has to know to get further than the first check of each route."""

import base64
import itertools
import os

import schemathesis
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.openapi.checks import RejectedPositiveData

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

schemathesis.openapi.media_type("image/png", st.just(PICTURE))
schemathesis.openapi.media_type("application/offset+octet-stream", st.binary(max_size=100))
schemathesis.openapi.format("media-type", st.sampled_from(["image/png", "IMAGE/JPEG; q=1", "application/octet-stream", ""]))
schemathesis.openapi.format("media-range", st.sampled_from(["image/png", "image/jpeg", "image/*"]))

# Where the id of a new object is, for stateful tests to go on with it.
NEW_IDS = {
    "/media/upload": ("201", "$response.body#/id"),
    "/media/presign": ("200", "$response.body#/id"),
    "/media/multipart": ("200", "$response.body#/id"),
    "/media/tus": ("201", "$response.header.Location#regex:/([^/]+)$"),
}

known_ids = itertools.cycle(os.environ["KNOWN_IDS"].split(","))


@schemathesis.hook
def filter_case(context, case):
    """A header that nobody knows is no fault of a request (RFC 9110, section 5.1)."""
    return "x-schemathesis-unknown-property" not in (case.headers or {})


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    # Objects that are there. Stateful tests use their own. So does what reads an object, and what has its id from an
    # answer: of those schemathesis knows whose they are, and asks for them as the other user, too.
    own = case.meta.phase.name == "stateful" or case.operation.label == "GET /media/{id}"
    drawn = any(draw.parameter_name == "id" for draw in case.meta.pool_draws)
    if "id" in (case.path_parameters or {}) and not own and not drawn:
        case.path_parameters["id"] = next(known_ids)
    # `ids` goes with no other parameter, which no schema of single parameters can say.
    if case.path == "/media" and "ids" in (case.query or {}):
        case.query = {"ids": case.query["ids"]}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    paths = raw_schema["paths"]
    for source, (status, expression) in NEW_IDS.items():
        links = paths[source]["post"]["responses"][status].setdefault("links", {})
        for path, operations in paths.items():
            if "{id}" not in path or path.startswith("/media/tus/") != (source == "/media/tus"):
                continue
            for method in operations:
                reference = "#/paths/" + path.replace("/", "~1") + "/" + method
                links[f"{method} {path}"] = {"operationRef": reference, "parameters": {"id": expression}}


def key_twice(case, problem):
    """A pattern cannot say that no key of Upload-Metadata comes twice."""
    keys = [pair.split(" ")[0] for pair in case.headers["Upload-Metadata"].split(",")]
    return len(set(keys)) < len(keys) and problem["detail"] == "Invalid upload-metadata"


def part_beyond_last(case, problem):
    """How many parts there are depends on the file."""
    return problem["detail"].startswith("The file has ")


def many_parts(case, problem):
    """A list is sent as a part for each of its members, which no schema counts."""
    return problem["code"] == "too_many_parts"


def not_callers_own(case, problem):
    """Only a service may name another user, and has to name one."""
    said = [(error["field"], error["message"]) for error in problem.get("errors", [])]
    return said in ([("userId", "is not the caller")], [("userId", "is required of the role service")])


# Rules that no schema has words for.
UNWRITTEN = {
    "POST /media/claim": not_callers_own,
    "POST /media/tus": key_twice,
    "POST /media/upload": many_parts,
    "POST /media/{id}/parts": part_beyond_last,
}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Drops the refusal of what the document allows where it is by an unwritten rule."""
    broken = UNWRITTEN.get(case.operation.label)
    if broken is None or response.status_code != 400 or not isinstance(failure, RejectedPositiveData):
        return True
    return not broken(case, response.json())
