"""`run`: finding a Python, naming environments, and every way in which a first start can fail."""

import os
import pty
import select
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from scripts import bootstrap, environments

CHECKOUT = Path(__file__).resolve().parent.parent
RUN = CHECKOUT / "run"


def start(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `run` with nothing but a home, a path and `environment`."""
    kept = {"PATH": f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin", "HOME": str(home)}
    return subprocess.run(
        ["sh", RUN, *arguments], env=kept | environment, capture_output=True, text=True, timeout=120, check=False
    )


def fake_python(folder: Path, *, version: str) -> Path:
    """Put a `python3` that is not a suitable Python into `folder`."""
    folder.mkdir()
    program = folder / "python3"
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" && exit 0\nexit 1\n')
    program.chmod(0o755)
    return folder


class TestFindingPython:
    def test_none_is_an_error_with_a_cure(self, tmp_path):
        old = fake_python(tmp_path / "bin", version="3.9.2")
        for tool in ("dirname", "readlink", "sh"):
            (old / tool).symlink_to(str(shutil.which(tool)))
        done = start(tmp_path, "--version", PATH=str(old))
        assert done.returncode == 2
        assert "no Python 3.11, 3.12, 3.13 or 3.14 was found (python3 is: Python 3.9.2)" in done.stderr
        assert "cure: install one" in done.stderr

    def test_an_old_one_does_not_hide_a_newer_one(self, tmp_path):
        old = fake_python(tmp_path / "bin", version="3.9.2")
        done = start(tmp_path, PATH=f"{old}:{Path(sys.executable).resolve().parent}:/usr/bin:/bin")
        assert "usage: run chat" in done.stderr

    def test_the_current_folder_is_never_searched(self, tmp_path):
        planted = tmp_path / "python3"
        planted.write_text(f"#!/bin/sh\ntouch {tmp_path}/planted-ran\nexit 1\n")
        planted.chmod(0o755)
        path = f".::{Path(sys.executable).resolve().parent}:/usr/bin:/bin"
        subprocess.run(["sh", RUN], cwd=tmp_path, env={"PATH": path}, capture_output=True, check=False)
        assert not (tmp_path / "planted-ran").exists()

    def test_no_argument_is_a_usage_error(self, tmp_path):
        done = start(tmp_path)
        assert done.returncode == 2
        assert "run test" in done.stderr


class TestFailures:
    """Real first starts that cannot succeed. None of them reaches a network."""

    def test_home_that_cannot_hold_folders(self, tmp_path):
        (tmp_path / "file").touch()
        done = start(tmp_path / "file", "--version")
        assert done.returncode == 1
        assert "cannot write to" in done.stderr
        assert "cure: set XDG_DATA_HOME" in done.stderr

    def test_folder_that_others_can_write(self, tmp_path):
        runtime = tmp_path / "data" / "runtime"
        runtime.mkdir(parents=True)
        runtime.chmod(0o777)
        done = start(tmp_path, "--version", LOCALGPT_DATA_DIR=str(tmp_path / "data"))
        assert done.returncode == 1
        assert "another user could put code there" in done.stderr

    def test_no_network_leaves_nothing_that_looks_complete(self, tmp_path):
        nowhere = "http://127.0.0.1:9/simple"
        done = start(tmp_path, "--version", PIP_INDEX_URL=nowhere, PIP_RETRIES="1", PIP_CONFIG_FILE=os.devnull)
        assert done.returncode == 1
        assert not list(tmp_path.rglob("complete"))
        assert "the package index cannot be reached" in done.stderr
        assert "the first start needs the network once" in done.stderr

    def test_a_file_that_is_not_the_locked_one_is_refused(self, tmp_path):
        """Right name, right version, another content."""
        first = (CHECKOUT / "requirements/embedded.txt").read_text().splitlines()[0]
        name, version = first.removesuffix(" \\").split("==")
        index = tmp_path / "index"
        index.mkdir()
        with zipfile.ZipFile(index / f"{name.replace('-', '_')}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("planted.py", "")
        done = start(tmp_path, "--version", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index), PIP_CONFIG_FILE=os.devnull)
        assert done.returncode == 1
        assert "a download is not what was locked, and was refused" in done.stderr
        assert not list(tmp_path.rglob("planted.py"))


class TestKeys:
    def test_content_counts_and_time_does_not(self, tmp_path, monkeypatch):
        monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)
        source = tmp_path / "src" / "a.py"
        source.parent.mkdir()
        source.write_text("one")
        first = bootstrap.key(files=tuple(bootstrap.packaged_files()))
        os.utime(source, (1, 1))
        (source.parent / "__pycache__").mkdir()
        (source.parent / "__pycache__" / "a.pyc").touch()
        assert bootstrap.key(files=tuple(bootstrap.packaged_files())) == first
        source.write_text("two")
        assert bootstrap.key(files=tuple(bootstrap.packaged_files())) != first

    def test_a_boundary_between_parts_cannot_be_moved(self):
        assert bootstrap.key(b"ab", b"c") != bootstrap.key(b"a", b"bc")

    def test_every_packaged_path_exists(self):
        assert [name for name in bootstrap.PACKAGED if not (CHECKOUT / name).exists()] == []


class TestFolders:
    @pytest.mark.parametrize(
        ("variables", "expected"),
        [
            ({"LOCALGPT_DATA_DIR": "/a", "XDG_DATA_HOME": "/b", "HOME": "/c"}, "/a"),
            ({"XDG_DATA_HOME": "/b", "HOME": "/c"}, "/b/localgpt"),
            ({"XDG_DATA_HOME": "relative", "HOME": "/c"}, "/c/.local/share/localgpt"),
            ({"HOME": "/c"}, "/c/.local/share/localgpt"),
        ],
    )
    def test_precedence(self, monkeypatch, variables, expected):
        monkeypatch.setattr(os, "environ", variables)
        assert bootstrap.folder("LOCALGPT_DATA_DIR", "XDG_DATA_HOME", ".local/share") == Path(expected)

    def test_an_environment_that_is_not_ours_is_left_alone(self, tmp_path, monkeypatch):
        monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert bootstrap.development_folder() == tmp_path / ".venv"
        (tmp_path / ".venv").mkdir()
        assert bootstrap.development_folder().is_relative_to(tmp_path / "cache")
        (tmp_path / ".venv" / bootstrap.MARKER).touch()
        assert bootstrap.development_folder() == tmp_path / ".venv"


NO_ENSUREPIP = "The virtual environment was not created successfully because ensurepip is not available."
PRINTED = {
    "disk": ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
    "no venv": (NO_ENSUREPIP, "apt install python3-venv"),
    "hash": ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "was refused"),
    "wheel": ("ERROR: No matching distribution found for xllamacpp==1", "no prebuilt wheel"),
    "certificate": ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "SSL_CERT_FILE"),
}


@pytest.mark.parametrize("case", PRINTED)
def test_what_a_tool_printed_becomes_cause_and_cure(case):
    printed, expected = PRINTED[case]
    problem = environments.diagnose("packages", printed, Path("log"))
    assert expected in f"{problem} {problem.cure}"


def test_unknown_output_is_shown_escaped():
    problem = environments.diagnose("packages", "something new \x1b]0;title\x07", Path("log"))
    assert "something new" in str(problem)
    assert "\x1b" not in str(problem)


def test_too_little_space_is_found_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "FREE_BYTES_NEEDED", 1 << 62)
    with pytest.raises(environments.SetUpError, match="are free below") as caught:
        environments.require_space(tmp_path)
    assert "on another one" in caught.value.cure


def test_settings_that_redirect_an_installation_are_dropped(monkeypatch):
    settings = {"PIP_TARGET": "/x", "PIP_USER": "1", "PYTHONPATH": "/x", "PIP_CERT": "c", "HTTPS_PROXY": "p"}
    monkeypatch.setattr(os, "environ", settings)
    assert {"PIP_CERT": "c", "HTTPS_PROXY": "p"}.items() <= environments.tool_environment().items()
    assert not {"PIP_TARGET", "PIP_USER", "PYTHONPATH"} & environments.tool_environment().keys()


def test_sweep_deletes_unfinished_and_unused_environments_only(tmp_path):
    for name in ("app-used", "app-old", "app-half", "base-kept", "other"):
        (tmp_path / name).mkdir()
    for name in ("app-used", "app-old"):
        (tmp_path / name / "complete").touch()
    os.utime(tmp_path / "app-old" / "complete", (0, 0))
    environments.sweep(tmp_path, keep=(tmp_path / "base-kept",))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["app-used", "base-kept", "other"]


def test_progress_shows_no_foreign_escape_sequence(tmp_path):
    """A tool that prints a terminal escape: on a terminal only its printable characters are shown."""
    script = (
        "import sys; from pathlib import Path; from scripts.environments import Progress\n"
        "Progress(Path(sys.argv[1])).run('step', ['printf', r'evil\\033]0;title\\007\\n'])"
    )
    terminal, side = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "log"], cwd=CHECKOUT, stderr=side)
    os.close(side)
    shown = b""
    while select.select([terminal], [], [], 10)[0]:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
    os.close(terminal)
    assert process.wait() == 0
    assert b"evil]0;title" in shown
    assert b"\x1b]" not in shown


def test_link_tree_shares_content_and_keeps_links(tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_text("content")
    (source / "link").symlink_to("deep/file")
    environments.link_tree(source, tmp_path / "target")
    assert (tmp_path / "target/deep/file").samefile(source / "deep/file")
    assert (tmp_path / "target/link").is_symlink()


@pytest.mark.parametrize("script", ["run", ".ci/run", "scripts/lock.sh"])
def test_shell_scripts_are_executable_and_parse(script):
    path = CHECKOUT / script
    assert os.access(path, os.X_OK)
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
