"""The review: its inputs, decisions through the API, several windows and reviewers, and its protection."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import run_fails
from review_corpus import LISTED, VERIFIED, ReviewCorpus, make_review_corpus, write_csv

from dcase2018.label_quality.review_decisions import read_decisions
from dcase2018.server.decision_log import DecisionLog
from dcase2018.server.middleware import HEADERS
from dcase2018.server.pool import WorkerPool
from dcase2018.server.review import make_review_application
from dcase2018.server.review_session import ReviewSession, clip_id, open_review_list
from dcase2018.server.serve import Server
from dcase2018.utils.errors import InputError
from dcase2018.utils.signals import StopFlag


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ReviewCorpus:
    return make_review_corpus(tmp_path_factory.mktemp("review"))


class Api:
    """The application of a review on a real socket, in a thread, without workers."""

    def __init__(self, address: str) -> None:
        self.address = address

    def state(self) -> dict[str, Any]:
        return requests.get(f"{self.address}/api/review", timeout=10).json()

    def clip(self, fname: str) -> dict[str, Any]:
        return next(clip for clip in self.state()["clips"] if clip["id"] == clip_id(fname))

    def post(self, path: str, values: Any, **headers: str) -> requests.Response:
        headers = {"Content-Type": "application/json", **headers}
        return requests.post(self.address + path, data=json.dumps(values), headers=headers, timeout=10)

    def decide(self, fname: str, decision: str, label: str = "", revision: int = 0) -> requests.Response:
        values = {"id": clip_id(fname), "decision": decision, "label": label, "revision": revision}
        return self.post("/api/decisions", values)


@contextmanager
def serve_review(session: ReviewSession) -> Iterator[Api]:
    pool, stop_flag = WorkerPool([], 0), StopFlag()
    server = Server(make_review_application(pool, session, "127.0.0.1"), pool, stop_flag)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        yield Api(f"http://127.0.0.1:{listener.getsockname()[1]}")
        stop_flag.signum = 15
        thread.join()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "decisions.csv"


@contextmanager
def open_session(
    corpus: ReviewCorpus, runs: dict[str, Path], output: Path, reviewer: str = "anna"
) -> Iterator[ReviewSession]:
    review_list = open_review_list(corpus.labels, corpus.issues, runs["baseline"], corpus.audio)
    with DecisionLog(output) as log:
        yield ReviewSession(review_list, log, reviewer)


@pytest.fixture
def api(corpus: ReviewCorpus, runs: dict[str, Path], output: Path) -> Iterator[Api]:
    with open_session(corpus, runs, output) as session, serve_review(session) as api:
        yield api


def test_state_has_the_clips_in_order_and_verified_examples(api: Api, output: Path) -> None:
    state = api.state()
    names = [name.encode("utf-8", "surrogateescape") for name in LISTED]
    assert [clip["fname"].encode("utf-8", "surrogateescape") for clip in state["clips"]] == names
    assert {clip["label"] for clip in state["clips"]} == {"c0"}
    assert [clip["proposal"] for clip in state["clips"]] == ["c1", ""] * 10
    assert state["classes"] == ["c0", "c1", "c2"]
    verified = [clip_id(name) for name in VERIFIED]
    assert {label: len(ids) for label, ids in state["examples"].items()} == {"c0": 4, "c1": 4}
    assert set(state["examples"]["c0"]) <= set(verified[:5])
    assert set(state["examples"]["c1"]) <= set(verified[5:])
    assert (state["reviewer"], state["output"], state["source"]) == ("anna", str(output), "issues.csv")


def test_each_decision_is_in_the_file_when_the_response_arrives(api: Api, output: Path) -> None:
    for fname, decision, label, stored in (
        (LISTED[0], "accept", "c1", "c1"), (LISTED[1], "keep", "", "c0"), (LISTED[2], "other", "c2", "c2"),
        (LISTED[3], "none", "", ""), (LISTED[4], "skip", "", ""), (LISTED[5], "keep", "c2", "c0"),
    ):  # fmt: skip
        response = api.decide(fname, decision, label).json()
        assert response["decision"].items() >= {"decision": decision, "label": stored}.items()
        row = read_decisions(output)[-1]
        assert (row.fname, row.decision, row.label) == (fname, decision, stored)
        assert (row.reviewer, row.source) == ("anna", "issues.csv")
        assert api.clip(fname)["decision"] == response["decision"]


def test_undo_withdraws_one_decision_after_the_other(api: Api, output: Path) -> None:
    api.decide(LISTED[0], "keep")
    api.decide(LISTED[1], "none")
    api.decide(LISTED[0], "other", "c2", revision=1)
    undone = api.post("/api/undo", {}).json()
    assert undone["id"] == clip_id(LISTED[0])
    assert undone["decision"]["decision"] == "keep"
    assert api.post("/api/undo", {}).json() == {"id": clip_id(LISTED[1]), "revision": 2, "decision": None}
    assert api.post("/api/undo", {}).json()["id"] == clip_id(LISTED[0])
    response = api.post("/api/undo", {})
    assert (response.status_code, response.json()) == (409, {"error": "there is no decision to undo"})
    assert [row.decision for row in read_decisions(output)] == ["keep", "none", "other", *["undo"] * 3]


def test_second_window_cannot_overwrite_a_decision_unseen(api: Api, output: Path) -> None:
    assert api.decide(LISTED[0], "keep").ok
    response = api.decide(LISTED[0], "none")
    assert (response.status_code, response.json()["error"]) == (409, "the clip was decided in another window")
    assert [row.decision for row in read_decisions(output)] == ["keep"]
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda name=name: results.append(api.decide(name, "none").status_code))
        for name in LISTED[1:9] * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [200] * 8 + [409] * 8
    assert sorted(row.fname for row in read_decisions(output)[1:]) == sorted(LISTED[1:9])


def test_restart_continues_and_keeps_reviewers_apart(
    corpus: ReviewCorpus, runs: dict[str, Path], output: Path
) -> None:
    first = {"id": clip_id(LISTED[0]), "decision": "none", "revision": 0}
    with open_session(corpus, runs, output) as session:
        session.decide(first)
        session.decide({"id": clip_id(LISTED[1]), "decision": "skip", "revision": 0})
        assert session.n_decided == 1
    with open_session(corpus, runs, output) as session:
        decisions = [clip["decision"] and clip["decision"]["decision"] for clip in session.state()["clips"]]
        assert decisions == ["none", "skip", *[None] * 18]
    with open_session(corpus, runs, output, "ben") as session:
        assert session.n_decided == 0
        session.decide(first)
        session.undo()
    with open_session(corpus, runs, output) as session:
        assert session.n_decided == 1


def test_decision_that_cannot_be_written_is_an_error(api: Api, output: Path) -> None:
    api.decide(LISTED[0], "none")
    output.unlink()
    response = api.decide(LISTED[1], "none")
    assert response.status_code == 409
    assert response.json()["error"].startswith(f"{output} was changed by another program")
    assert api.clip(LISTED[1])["decision"] is None


def test_invalid_requests(api: Api, output: Path) -> None:
    valid = {"id": clip_id(LISTED[0]), "decision": "none", "label": "", "revision": 0}
    for values, status, reason in (
        (valid | {"id": clip_id("unlisted.wav")}, 404, "the clip is not in the list"),
        (valid | {"id": ["x"]}, 404, "the clip is not in the list"),
        (valid | {"decision": "undo"}, 400, "decision 'undo' is not one of keep,"),
        (valid | {"decision": ["keep"]}, 400, "decision ['keep'] is not one of keep,"),
        (valid | {"decision": "other", "label": "Bark"}, 400, "label 'Bark' is not among the 3 classes"),
        (valid | {"decision": "accept", "label": None}, 400, "label None is not among the 3 classes"),
        ([valid], 400, "the body is not a JSON object"),
        (valid | {"label": "x" * 70_000}, 413, "the body is too large"),
    ):
        response = api.post("/api/decisions", values)
        assert (response.status_code, response.json()["error"][: len(reason)]) == (status, reason)
    for path in ("/api/decisions", "/api/undo"):
        assert api.post(path, valid, **{"Content-Type": "text/plain"}).status_code == 415
        assert requests.post(api.address + path, data={"id": valid["id"]}, timeout=10).status_code == 415
        assert requests.get(api.address + path, timeout=10).status_code == 405
        for headers in ({"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}):
            assert api.post(path, valid, **headers).status_code == 403
    broken = requests.post(
        f"{api.address}/api/undo", data=b"{", headers={"Content-Type": "application/json"}, timeout=10
    )
    assert broken.json()["error"].startswith("the body is not JSON: ")
    assert read_decisions(output) == []


def test_only_listed_clips_and_examples_have_addresses(
    api: Api, corpus: ReviewCorpus, runs: dict[str, Path]
) -> None:
    review_list = open_review_list(corpus.labels, corpus.issues, runs["baseline"], corpus.audio)
    examples = [fname for fname in VERIFIED if clip_id(fname) in review_list.paths]
    assert len(examples) == 8
    assert set(review_list.paths) == set(map(clip_id, [*LISTED, *examples]))
    for name in ("unlisted.wav", "secret.wav", "../train.csv"):
        for path in (f"/api/clips/{clip_id(name)}", f"/api/clips/{clip_id(name)}/audio"):
            assert requests.get(api.address + path, timeout=10).status_code == 404
    response = requests.get(f"{api.address}/", timeout=10)
    assert "dcase2018 review" in response.text
    assert all(response.headers[name] == value for name, value in HEADERS.items())


@pytest.mark.parametrize(
    ("labels", "issues", "message"),
    [
        (None, [["x.wav", "c0"]], r"line 2: clip 'x.wav' is not in .*train.csv"),
        (
            None,
            [["clip-0.wav", "c0"], ["clip-0.wav", "c0"]],
            "line 3: 'clip-0.wav' is already listed in line 2",
        ),
        (None, [], "lists no clip; nothing is to be reviewed"),
        ([["clip-0.wav", "Bark"]], None, r"has no class Bark, which .*train.csv uses"),
        ([["../train.csv", "c0"]], [["../train.csv", "c0"]], "with '..', such as '../train.csv'"),
        ([["gone.wav", "c0"]], [["gone.wav", "c0"]], "1 of 1 clips are not in"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    labels: list[list] | None, issues: list[list] | None, message: str,
    corpus: ReviewCorpus, runs: dict[str, Path], tmp_path: Path,
) -> None:  # fmt: skip
    paths = {"train.csv": (labels, corpus.labels), "issues.csv": (issues, corpus.issues)}
    inputs = []
    for name, (rows, default) in paths.items():
        inputs.append(tmp_path / name if rows is not None else default)
        if rows is not None:
            write_csv(inputs[-1], ["fname", "label"], rows)
    with pytest.raises(InputError, match=message):
        open_review_list(*inputs, runs["baseline"], corpus.audio)


def test_swapped_arguments_are_recognized(corpus: ReviewCorpus, runs: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="is a list of label issues; the order is LABELS ISSUES RUN"):
        open_review_list(corpus.issues, corpus.labels, runs["baseline"], corpus.audio)


def test_any_label_file_can_be_the_list(corpus: ReviewCorpus, runs: dict[str, Path]) -> None:
    review_list = open_review_list(corpus.labels, corpus.labels, runs["baseline"], corpus.audio)
    assert [clip.fname for clip in review_list.clips] == [*VERIFIED, *LISTED, "unlisted.wav"]
    assert {clip.proposal for clip in review_list.clips} == {""}


def test_list_with_other_labels_is_reported(
    corpus: ReviewCorpus, runs: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [["clip-0.wav", "c1", "c0"], ["clip-1.wav", "c0", "c1"]]
    write_csv(tmp_path / "issues.csv", ["fname", "label", "predicted_label"], rows)
    review_list = open_review_list(corpus.labels, tmp_path / "issues.csv", runs["baseline"], corpus.audio)
    assert [(clip.label, clip.proposal) for clip in review_list.clips] == [("c0", ""), ("c0", "c1")]
    assert "1 clips have another label in" in caplog.text


@pytest.mark.slow
def test_command_checks_its_output(corpus: ReviewCorpus, runs: dict[str, Path], tmp_path: Path) -> None:
    inputs = (corpus.labels, corpus.issues, runs["baseline"], "--audio", corpus.audio, "--port", 0)
    assert "is an input and would be overwritten" in run_fails(2, "review", *inputs, "-o", corpus.labels)
    (tmp_path / "other.csv").write_text("fname,label\n")
    assert "is not a file of decisions" in run_fails(2, "review", *inputs, "-o", tmp_path / "other.csv")
    options = ("-o", tmp_path / "new.csv", "--reviewer", " ")
    assert run_fails(2, "review", *inputs, *options) == "dcase2018: --reviewer is empty; give a name\n"
