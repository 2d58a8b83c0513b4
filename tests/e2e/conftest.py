import json
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import harness  # noqa: E402  (after the path is set)


def pytest_collection_modifyitems(items):
    for item in items:
        if not harness.MODEL and "no_model" not in item.keywords:
            item.add_marker(pytest.mark.skip(
                reason="TROUPE_TEST_MODEL is not set; tools/test.sh sets it"))


def pytest_configure(config):
    config.addinivalue_line("markers", "no_model: runs without the real model")


@pytest.fixture
def place(tmp_path):
    """A machine of its own; what it started is ended at the end."""
    made = harness.Place(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def golden():
    """The recorded references, by name."""
    folder = harness.ROOT / "tests" / "data" / "golden"

    def load(name):
        return json.loads((folder / name).read_text())

    return load


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """One process, no daemon."""
    made = harness.Place(tmp_path_factory.mktemp("alone"))
    made.env["TROUPE_CLUSTER"] = "none"
    yield made
    made.close()


@pytest.fixture(scope="session")
def gpl_ids(alone):
    """The token ids of the GPL-3 as Debian ships it."""
    return alone.json("tokenize", harness.MODEL, "-f", harness.GPL)["ids"]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A head that works and two nodes."""
    made = harness.Cluster(tmp_path_factory.mktemp("three"), 2)
    yield made
    made.close()


def pytest_report_header():
    return f"troupe: {harness.TROUPE}; model: {os.environ.get('TROUPE_TEST_MODEL', 'none')}"
