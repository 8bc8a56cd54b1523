"""Models put on the Hub and fetched from it, by a server on this machine that speaks as the Hub does."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from metarl import load_from_hub, push_to_hub
from metarl.agents.maml import MAML, MAMLConfig
from metarl.core.errors import MetaRLError
from metarl.evaluation.fewshot import evaluate_fewshot_run
from metarl.evaluation.outcome import evaluate_run
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.options import TrainingOptions
from metarl.experiments.run import Run
from metarl.experiments.training import train_run
from metarl.fewshot import FewShot
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.registry import preset_config

hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
pytest.importorskip("huggingface_hub.file_download")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Server(BaseHTTPRequestHandler):
    """The part of the Hub that is used: repositories of small files, written by commits."""

    files: ClassVar[dict[str, dict[str, bytes]]] = {}  # repository -> path -> content

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def answer(self, content: bytes, code: int = 200, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told['organization']}/{told['name']}" if told.get("organization") else told["name"]
            self.files.setdefault(name, {})
            self.answer(json.dumps({"url": f"{self.server.address}/{name}", "id": name}).encode())  # type: ignore[attr-defined]
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            asked = json.loads(body)["files"]
            modes = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in asked]
            self.answer(json.dumps({"files": modes}).encode())
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.files[match[1]][line["value"]["path"]] = content
            address = f"{self.server.address}/{match[1]}/commit/{COMMIT}"  # type: ignore[attr-defined]
            self.answer(json.dumps({"commitUrl": address, "commitOid": COMMIT, "hookOutput": ""}).encode())
        elif self.path == "/api/validate-yaml":
            self.answer(b'{"errors": [], "warnings": []}')
        else:
            self.answer(b"", 404)

    def do_GET(self) -> None:
        match = re.fullmatch(r"/(.+?)/resolve/(?:main|[0-9a-f]{40})/([^?]+)", self.path)
        content = self.files.get(match[1], {}).get(match[2]) if match else None
        if content is None:
            known = match is not None and match[1] in self.files
            self.answer(b"{}", 404, X_Error_Code="EntryNotFound" if known else "RepoNotFound")
            return
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        self.answer(content, ETag=tag, X_Repo_Commit=COMMIT)

    do_HEAD = do_GET


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of such a server, with an empty cache."""
    monkeypatch.setattr(hub.file_download.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Server, "files", {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.address = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.address  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = MAMLConfig(tasks=2, episodes=2, hidden=(4,), total_timesteps=300)
    made = Run.create(
        tmp_path_factory.mktemp("hub") / "agent",
        "maml",
        "metarl/PointNavigation-v0",
        "pearl",
        config,
        (0, 1),
        "metarl train maml metarl/PointNavigation-v0",
    )
    train_run(made, TrainingOptions(), 1)
    return made


def test_an_agent_comes_back_with_its_weights(run: Run, endpoint: str) -> None:
    evaluation = evaluate_run(run, n_tasks=3, deterministic=False).evaluation
    address = push_to_hub(run, evaluation, "me/walker", endpoint=endpoint, token="hf_x")
    assert address == f"{endpoint}/me/walker/commit/{COMMIT}"
    files = Server.files["me/walker"]
    film = {name for name in files if name.startswith("replay.")}
    assert len(film) == 1
    weights = {"weights-0.safetensors", "weights-1.safetensors"}
    assert set(files) - film == {"README.md", "config.json", "evaluation.json"} | weights
    agent = load_from_hub("me/walker", seed=1, endpoint=endpoint)
    assert isinstance(agent, MAML)
    for name, value in run.trained(1).params.items():
        assert torch.equal(agent.params[name], value)
    card = hub.ModelCard(files["README.md"].decode())
    assert card.data.library_name == "metarl"
    first = card.data.eval_results[0]
    assert first.dataset_name == "metarl/PointNavigation-v0 (pearl)"
    assert first.metric_value == pytest.approx(evaluation.points[-1].returns.value)
    assert 'load_from_hub("me/walker")' in card.text
    assert "metarl train maml metarl/PointNavigation-v0" in card.text


def test_a_few_shot_learner_comes_back_too(tmp_path: Path, endpoint: str) -> None:
    config = preset_config("prototypical")
    made = FewShotRun.create(tmp_path / "few", "prototypical", config, "strokes", (0,), "made", length=1)
    train_run(made, TrainingOptions(), 1)
    scored = evaluate_fewshot_run(made, EpisodeSpec(5, 1, 5), 4, "test")
    push_to_hub(made, scored, "me/few", endpoint=endpoint, token="hf_x")
    assert "5w1s" in Server.files["me/few"]["README.md"].decode()
    model = load_from_hub("me/few", endpoint=endpoint)
    assert isinstance(model, FewShot)
    for name, value in made.trained(0).params.items():
        assert torch.equal(model.params[name], value)


def test_what_is_not_there_or_not_of_the_run_is_said(run: Run, endpoint: str) -> None:
    evaluation = evaluate_run(run, n_tasks=3, deterministic=False).evaluation
    with pytest.raises(MetaRLError, match=r"me/nobody has no weights-0\.safetensors that can be fetched"):
        load_from_hub("me/nobody", endpoint=endpoint)
    push_to_hub(run, evaluation, "me/walker", film=False, endpoint=endpoint, token="hf_x")
    with pytest.raises(MetaRLError, match=r"me/walker has no weights-7\.safetensors that can be fetched"):
        load_from_hub("me/walker", seed=7, endpoint=endpoint)
    with pytest.raises(MetaRLError, match="me/walker could not be written"):
        push_to_hub(run, evaluation, "me/walker", film=False, endpoint="http://127.0.0.1:9", token="hf_x")
    with pytest.raises(MetaRLError, match=r"The evaluation is not of .* as it is now"):
        push_to_hub(run, replace(evaluation, made_of="another:run"), "me/walker", endpoint=endpoint)
