"""/openapi.json is what the server does: requests that are made from it, right and wrong ones, get
the statuses and bodies that it describes, and never an internal error."""
import os
import re

import pytest

import harness
import http_server
from tiny_folder import CHAT, Folder

CHECKERS = harness.ROOT / "build" / "schemathesis"
# Requests for each endpoint; tools/test.sh --deep asks for more.
CASES = int(os.environ.get("TROUPE_API_CASES", "15"))
# Requests that fit the description may still be refused: a prompt may be too long for the model, a
# field may not go with another one.
LEFT_OUT = "positive_data_acceptance"


@pytest.mark.no_model
def test_requests_made_from_the_description(place, tmp_path):
    place.env["TROUPE_CLUSTER"] = "none"
    folder = Folder(tmp_path / "tiny", {"chat_template": CHAT, "eos_token": "</s>"}, context=512)
    keys = tmp_path / "keys"
    key = place.json("key", "new", "--api", "checker", "--api-key-file", keys, "--api-role",
                     "admin")["key"]
    server = http_server.Server(place, "--api-key-file", keys,
                                models=("--alias", f"tiny={folder.path}"))
    ran = http_server.run_client(
        "schemathesis", "-m", "schemathesis.cli", "run", server.url + "/openapi.json", "--checks", "all",
        "--exclude-checks", LEFT_OUT, "--phases", "examples,coverage,fuzzing", "--max-examples", CASES,
        "--seed", 1, "--generation-database", "none", "--continue-on-failure", "--warnings", "off",
        "-H", f"Authorization: Bearer {key}", "--request-timeout", 60, folder=CHECKERS,
        env={"SCHEMATHESIS_HOOKS": "openapi_hooks", "NO_COLOR": "1",
             "PYTHONPATH": f"{CHECKERS}{os.pathsep}{http_server.SCRIPTS}"},
        timeout=60 if CASES < 100 else 1800, cwd=tmp_path)
    print("\n".join(re.findall(r"^.*\bgenerated\b.*$", ran.stdout, re.MULTILINE)))
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert server.ask("GET", "/health")[0] == 200
    assert server.stop() == 0
