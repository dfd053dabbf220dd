"""`tdpn push`, to a server on this machine in the hub's place."""

import base64
import hashlib
import http.server
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import tdpn_core
from tdpn_core.errors import ToolError, UsageError

CODE = """
import json, os, sys
import huggingface_hub
from typer.testing import CliRunner
from tdpn_cli.app import app

for token, *words in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"] = token
    if token == "unplugged":
        huggingface_hub.hf_api.api.endpoint = "http://127.0.0.1:9"
    if token == "offline":
        os.environ["TDPN_OFFLINE"] = "1"
    result = CliRunner().invoke(app, words)
    print(json.dumps([result.exit_code, result.output, str(result.exception or "")]))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """Takes uploads of the token `good` into `me/nets`; the token `reader` may only read."""

    stored: dict[str, bytes]
    objects: dict[str, bytes]
    created: list[dict[str, Any]]

    def _answer(self, status: int, value: object = None, **headers: str) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        name = path.removeprefix("/me/nets/resolve/main/")
        if path.startswith("/api/models/") and self.created:
            return self._answer(200, {"id": "me/nets", "private": True, "sha": "0" * 40, "siblings": []})
        if name in self.stored:
            digest = hashlib.sha1(self.stored[name]).hexdigest()
            return self._answer(200, self.stored[name], ETag=f'"{digest}"', X_Repo_Commit="0" * 40)
        return self._answer(404, {}, X_Error_Code="RepoNotFound")

    def do_PUT(self) -> None:
        self.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        base = f"http://{self.headers['Host']}"
        token = self.headers.get("Authorization")
        if token == "Bearer reader":
            return self._answer(403, {"error": "You don't have the rights"})
        if token != "Bearer good":
            return self._answer(401, {"error": "Invalid credentials"})
        if self.path == "/api/repos/create":
            self.created.append(json.loads(body))
            return self._answer(200, {"url": f"{base}/me/nets", "id": "me/nets"})
        if "/me/gone/" in self.path:
            return self._answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        if self.path.startswith("/api/models/me/nets/preupload/"):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [(name, "lfs" if name.endswith(".pt") else "regular") for name in names]
            found = [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes]
            return self._answer(200, {"files": found})
        if self.path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            actions = [{**one, "actions": {"upload": {"href": f"{base}/{one['oid']}"}}} for one in wanted]
            return self._answer(200, {"transfer": "basic", "objects": actions})
        if self.path.startswith("/api/models/me/nets/commit/"):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.stored[value["path"]] = base64.b64decode(value["content"])
                if line["key"] == "lfsFile":
                    self.stored[value["path"]] = self.objects[f"/{value['oid']}"]
            commit = {"commitUrl": f"{base}/me/nets/commit/{'0' * 40}", "commitOid": "0" * 40, "success": True}
            return self._answer(200, commit)
        return self._answer(200, {"errors": [], "warnings": []})

    def log_message(self, *_: object) -> None:
        pass


Outcome = tuple[int, str, str]
"""Exit code, output and error of a command."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "best.onnx"
    path.write_bytes(b"an exported network")
    return path


@pytest.fixture(scope="module")
def outcomes(fresh: Path, videos: Path, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """The commands of this module, run in this order in a process of their own."""
    pytest.importorskip("huggingface_hub")
    push = ["push", str(fresh), "me/nets", "--yes"]
    full = [*push, "--include", str(exported)]
    calls = {
        "listed": ["", *full, "--dry-run"],
        "no token": ["", *push],
        "wrong token": ["bad", *push],
        "reader": ["reader", *push],
        "unasked": ["good", *push[:-1]],
        "sent": ["good", *full],
        "again": ["good", *push, "--public", "--json"],
        "predicted": ["good", "predict", str(next(videos.rglob("*.mp4"))), "--checkpoint", "hf:me/nets/best.pt"],
        "missing": ["good", "push", str(fresh), "me/gone", "--yes"],
        "unplugged": ["unplugged", *push],
        "offline": ["offline", *push],
    }
    Hub.stored, Hub.objects, Hub.created = {}, {}, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
            "HF_HOME": str(tmp_path_factory.mktemp("hub")),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "OMP_NUM_THREADS": "1",
            "PATH": "",
            "PYTHONPATH": ":".join(sys.path),
            "no_proxy": "127.0.0.1",
        }
        command = [sys.executable, "-c", CODE, json.dumps(list(calls.values()))]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
        server.shutdown()
    found = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("[")]
    assert len(found) == len(calls), result.stderr
    return {name: (code, output, error) for name, (code, output, error) in zip(calls, found, strict=True)}


def test_push_uploads_a_checkpoint_that_loads_again_by_name(
    outcomes: dict[str, Outcome], fresh: Path, exported: Path
) -> None:
    code, output, _ = outcomes["sent"]
    assert (code, "--checkpoint hf:me/nets/best.pt" in output) == (0, True), outcomes["sent"]
    assert outcomes["predicted"][0] == 0, outcomes["predicted"]
    assert set(Hub.stored) == {"best.pt", "README.md", "config.json", "classes.json", "best.onnx"}
    assert Hub.stored["best.onnx"] == exported.read_bytes()
    assert b"--checkpoint hf:me/nets/best.pt" in Hub.stored["README.md"]
    assert json.loads(Hub.stored["config.json"])["data"]["absolute"] == ""
    assert str(fresh.parent).encode() not in Hub.stored["best.pt"]


def test_push_creates_one_private_repository_that_stays_private(outcomes: dict[str, Outcome]) -> None:
    (created,) = Hub.created
    assert (created["organization"], created["name"], created["visibility"]) == ("me", "nets", "private")
    output = outcomes["again"][1]
    assert json.loads(output[output.index("{") :])["private"]


def test_push_dry_run_lists_the_files(outcomes: dict[str, Outcome]) -> None:
    first, *files = outcomes["listed"][1].splitlines()
    assert first.startswith("to me/nets")
    assert {line.split()[0] for line in files} == {"best.pt", "README.md", "config.json", "classes.json", "best.onnx"}
    sizes = dict(line.split(maxsplit=1) for line in files)
    assert re.fullmatch(r"\d+ bytes|\d+\.\d kB", sizes["classes.json"]), "not 0.00 MB"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unasked", "me/nets: nothing was uploaded; --yes uploads without asking"),
        ("no token", "me/nets: there is no token for the Hugging Face hub; log in with `hf auth login`"),
        ("wrong token", "me/nets: the hub does not accept the token (401); log in"),
        ("reader", "me/nets: the token has no write access to me (403); log in"),
        ("missing", "me/gone: the hub does not find it, or the token has no access to me (404); check the name"),
        ("unplugged", "me/nets: the Hugging Face hub cannot be reached: "),
        ("offline", "me/nets: nothing can be uploaded: network access is disabled"),
    ],
)
def test_push_that_cannot_upload_is_an_error_with_the_way_out(
    name: str, message: str, outcomes: dict[str, Outcome]
) -> None:
    code, _, error = outcomes[name]
    assert (code, message in error) == (1, True), error


@pytest.mark.parametrize("name", ["nets", "me/nets/more", "me/ne ts", "/nets"])
def test_push_to_a_malformed_name_is_refused(name: str, fresh: Path) -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.raises(UsageError, match="is not the name of a repository; use the form OWNER/NAME"):
        tdpn_core.push(fresh, name)


def test_push_without_the_package_names_the_extra(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ToolError, match=r"require the package huggingface_hub; pip install 'tdpn\[hub\]'"):
        tdpn_core.push(fresh, "me/nets", dry_run=True)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("none.onnx", "cannot be uploaded: No such file or directory"),
        ("README.md", "another file is uploaded as README"),
    ],
)
def test_push_including_a_missing_file_or_a_taken_name_is_refused(
    file: str, message: str, fresh: Path, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UsageError, match=message):
        tdpn_core.push(fresh, "me/nets", include=[tmp_path / file], dry_run=True)


def test_push_of_a_file_that_is_no_checkpoint_of_tdpn_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    (tmp_path / "best.onnx").write_bytes(b"an exported network")
    with pytest.raises(UsageError, match="is not a checkpoint of tdpn"):
        tdpn_core.push(tmp_path / "best.onnx", "me/nets", dry_run=True)
