from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.triton import install
from deploy.triton.installation import REPOSITORY_ROOT
from deploy.triton.prerequisites import PrerequisiteError


def test_a_missing_prerequisite_ends_with_status_1_and_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_version: str) -> Path:
        raise PrerequisiteError("apt-get install libpython3.11")

    monkeypatch.setattr(install, "check_prerequisites", refuse)
    assert install.main(["--dir", str(tmp_path), "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result == {"installed": False, "error": "apt-get install libpython3.11"}
    assert install.main(["--dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "apt-get install libpython3.11\n"


def test_a_failing_step_reports_the_end_of_its_output() -> None:
    command = [sys.executable, "-c", "print('no such package'); raise SystemExit(3)"]
    with pytest.raises(install.InstallError, match=r"exit status 3\):\nno such package"):
        install._run(command, "install a package")


def test_the_installer_needs_nothing_but_the_standard_library() -> None:
    # `make run` calls it in whatever Python it finds.
    code = (
        "import sys; sys.path.insert(0, '.');"
        "import deploy.triton.install, deploy.triton.process, deploy.triton.control;"
        "print([m for m in ('numpy', 'google.protobuf', 'tritonclient', 'torch')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=REPOSITORY_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
