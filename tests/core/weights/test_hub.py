"""Files of the Hugging Face hub by name, from a server on this machine in the hub's place."""

import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdpn_core.errors import UsageError
from tdpn_core.weights.hub import obtain_from_hub

CONTENT = b"weights of a network"
CODE = """
import sys
from pathlib import Path
from tdpn_core.errors import TdpnError
from tdpn_core.offline import go_offline
from tdpn_core.weights.resolve import find_weights

for name in sys.argv[1:]:
    try:
        if name == "offline":
            go_offline()
        else:
            print(find_weights(Path(name)).read_bytes().decode())
    except TdpnError as error:
        print(error)
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """Has one file of one repository."""

    def do_HEAD(self) -> None:
        found = self.path.partition("?")[0] == "/me/nets/resolve/main/a.pth"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(CONTENT)) if found else "0")
        self.send_header("X-Repo-Commit", "0" * 40)
        if found:
            self.send_header("ETag", f'"{hashlib.sha1(CONTENT).hexdigest()}"')
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.path.partition("?")[0] == "/me/nets/resolve/main/a.pth":
            self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_file_of_the_hub_is_downloaded_once_and_found_offline(hub: str, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    words = ["hf:me/nets/a.pth", "hf:me/nets/b.pth", "offline", "hf:me/nets/a.pth", "hf:me/nets/c.pth"]
    environment = {
        "HF_ENDPOINT": hub,
        "HF_HOME": str(tmp_path),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PATH": "",
        "PYTHONPATH": ":".join(sys.path),
        "no_proxy": "127.0.0.1",
    }
    command = [sys.executable, "-c", CODE, *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    first, missing, again, absent = result.stdout.splitlines()
    assert (first, again) == (CONTENT.decode(), CONTENT.decode()), result.stderr
    assert missing.startswith("hf:me/nets/b.pth: cannot be fetched: ")
    assert absent.startswith("hf:me/nets/c.pth: is not in the hub's cache")


@pytest.mark.parametrize("name", ["hf:a.pth", "hf:me/a.pth", "hf:me/nets/"])
def test_a_name_without_owner_repository_or_file_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="use the form hf:OWNER/REPOSITORY/FILE"):
        obtain_from_hub(name)
