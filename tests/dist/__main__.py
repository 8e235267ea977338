"""``make dist``: build the wheel and the source distribution, look into them, and run the demo from the wheel.

Each Python that wdstools supports and that this machine has gets an environment of its own, with nothing in it but the wheel and
what that asks for. ``--homepage URL`` makes README's links absolute, as an index of packages needs them, and names the
project's addresses in the metadata: no address is written in the repository, for whoever publishes it decides on one.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Versions that are tried, where there are any of them.
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
SAMPLES = "200"
TWINE = "twine==7.0.0"
_LINK = re.compile(r"(\]\()(?!https?://|#|mailto:)([^)\s]+)(\))")
_PICTURE = re.compile(r"(!\[[^\]]*\]\()(?!https?://)([^)\s]+)(\))")


def main() -> int:
    """Exit code 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.dist")
    parser.add_argument("--out", default="dist", help="where the files go (%(default)s)")
    parser.add_argument("--homepage", default="", help="what README's relative links are below, as https://host/owner/name/blob/main")
    parser.add_argument("--pythons", default=",".join(VERSIONS), help="versions to try (%(default)s)")
    arguments = parser.parse_args()
    out = Path(arguments.out).absolute()
    built = build(out, arguments.homepage)
    faults = [fault for path in built for fault in faults_of(path, arguments.homepage)] + refused_by_twine(built)
    tried = []
    for version in arguments.pythons.split(","):
        python = find_python(version)
        if python is None:
            say(f"python {version}: not on this machine")
            continue
        tried.append(version)
        faults += [f"python {version}: {fault}" for fault in run_demo(python, built[-1])]
    if not tried:
        faults.append("no Python was found to try the wheel with")
    for fault in faults:
        say(f"FAULT {fault}")
    say(f"{len(built)} files in {out}; tried with Python {', '.join(tried) or 'none'}; {len(faults)} faults")
    return int(bool(faults))


def build(out: Path, homepage: str) -> list[Path]:
    """The source distribution and the wheel, built of a copy of what is committed or would be."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "tree")
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tree / name)
        if homepage:
            readme = tree / "README.md"
            readme.write_text(absolute(readme.read_text("utf-8"), homepage), "utf-8")
            project = tree / "pyproject.toml"
            project.write_text(project.read_text("utf-8") + urls(homepage), "utf-8")
        else:
            say("README's links stay relative, which an index of packages cannot follow: HOMEPAGE=... to release")
        say("building ...")
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(out)], cwd=tree, check=True, capture_output=True)
    return [*out.glob("*.tar.gz"), *out.glob("*.whl")]


def absolute(text: str, homepage: str) -> str:
    """A text of Markdown with its relative links made absolute; pictures by the address of their bytes."""
    pages = homepage.rstrip("/")
    text = _PICTURE.sub(rf"\1{pages.replace('/blob/', '/raw/')}/\2\3", text)
    return _LINK.sub(rf"\1{pages}/\2\3", text)


def urls(homepage: str) -> str:
    """The project's addresses, as a part of pyproject.toml."""
    repository = homepage.partition("/blob/")[0]
    lines = {"Repository": repository, "Changelog": f"{homepage.rstrip('/')}/CHANGELOG.md"}
    return "\n[project.urls]\n" + "".join(f'{name} = "{address}"\n' for name, address in lines.items())


def faults_of(path: Path, homepage: str) -> list[str]:
    """What is wrong with a file that would be released."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        wanted = ["wdstools/py.typed", "wdstools/report/templates/bench.html"]
    else:
        with tarfile.open(path) as archive:
            names = [name.partition("/")[2] for name in archive.getnames()]
            file = archive.extractfile(next(one for one in archive.getmembers() if one.name.endswith("/PKG-INFO")))
            assert file is not None
            metadata = file.read().decode()
        wanted = ["wdstools/py.typed", "README.md", "FORMAT.md", "LICENSE", "CHANGELOG.md"]
    found = [f"{path.name} lacks {name}" for name in wanted if name not in names]
    found += [f"{path.name} holds {name}" for name in names if name.startswith(("tests/", ".git/", "build/", "demo/"))]
    for field in ("Requires-Python: >=3.11", "License-Expression: Apache-2.0", "Description-Content-Type: text/markdown"):
        if field not in metadata:
            found.append(f"{path.name} does not say {field}")
    if homepage:
        found += [f"{path.name}: README links to {link[2]}" for link in _LINK.finditer(metadata)]
        found += [] if "Project-URL: Repository, " in metadata else [f"{path.name} does not name the repository"]
    return found


def refused_by_twine(paths: list[Path]) -> list[str]:
    """What the program that sends files to an index of packages finds wrong with them; it gets an environment of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        say("asking twine ...")
        subprocess.run([sys.executable, "-m", "venv", scratch], check=True)
        python = f"{scratch}/bin/python"
        for command in (
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", TWINE],
            [python, "-m", "twine", "check", "--strict", *map(str, paths)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return [f"twine: {(done.stdout + done.stderr).strip()[-500:]}"]
    return []


def find_python(version: str) -> str | None:
    """An interpreter of a version, on the path or kept by pyenv."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    on_path, kept = shutil.which(f"python{version}"), glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python3"))
    for python in filter(None, (on_path, *sorted(kept, reverse=True))):
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return python  # and no stand-in for one that is not there
    return None


def run_demo(python: str, wheel: Path) -> list[str]:
    """What goes wrong in a fresh environment that has only the wheel."""
    with tempfile.TemporaryDirectory() as scratch:
        say(f"{python}: installing the wheel, running the demo ...")
        subprocess.run([python, "-m", "venv", f"{scratch}/env"], check=True)
        pip = [f"{scratch}/env/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        for command in (
            pip,
            [f"{scratch}/env/bin/wdstools", "demo", "demo", "--samples", SAMPLES],
            [f"{scratch}/env/bin/wdstools", "verify", "demo/shards", "--level", "decode"],
        ):
            done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                return [f"{' '.join(command[:3])} ends with {done.returncode}: {done.stderr.strip()[-500:]}"]
    return []


def say(text: str) -> None:
    """A line for whoever waits."""
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
