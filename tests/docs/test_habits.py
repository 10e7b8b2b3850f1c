"""What a kept project has beside its code: licence, citation, changelog, hooks, a workflow."""

import re
import shutil
import subprocess
import sys
import tomllib
from email import message_from_string
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel_metadata(tmp_path_factory):
    """The metadata of the wheel and the files of its ``licenses`` folder, without its packages."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    code = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shutil.unpack_archive(folder / done.stdout.split()[-1], folder / "unpacked", "zip")
    info = next((folder / "unpacked").glob("*.dist-info"))
    return message_from_string((info / "METADATA").read_text(encoding="utf-8")), info / "licenses"


def test_the_wheel_carries_the_licence_and_names_it(wheel_metadata):
    metadata, licences = wheel_metadata
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"] == "The lungbench developers"
    text = (licences / "LICENSE").read_text()
    assert text == (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_readme_of_a_package_index_has_no_link_that_leads_nowhere(wheel_metadata):
    metadata, _ = wheel_metadata
    text = metadata.get_payload()
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert text.lstrip().startswith("# lungbench")
    targets = re.findall(r"\]\(([^)\s]+)", text)
    assert all(target.startswith(("https://", "#")) for target in targets), targets
    assert "what is\nwhat (`docs/leaderboard.md`)" in text  # the words stay, and where to look
    assert "```mermaid" not in text
    assert "| Shenzhen → Montgomery | 1 |" in text


def test_the_citation_follows_its_format_and_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert [{"name": author["name"]} for author in citation["authors"]] == PROJECT["authors"]
    assert citation["type"] == "software"
    assert len(citation["keywords"]) == len(set(citation["keywords"]))


def test_the_changelog_tells_of_this_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    kinds = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert "## [Unreleased]" in text
    assert PROJECT["version"] in text


def test_hooks_run_the_tools_of_lint():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    makefile = (ROOT / "Makefile").read_text()
    lint = makefile[makefile.index("lint:") :].split("\n\n")[0]
    for hook in hooks[0]["hooks"]:
        tool = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert f"$(BIN)/{tool}" in lint, hook["id"]
        assert (ROOT / ".venv/bin" / tool).exists() or shutil.which(tool), tool


def test_the_workflow_calls_what_lands_a_change():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    commands = [step.get("run", "") for step in workflow["jobs"]["ci"]["steps"]]
    assert sum(".ci/run" in command for command in commands) == 1
    assert (ROOT / ".ci/run").is_file()
    assert workflow[True].keys() == {"push", "pull_request"}  # YAML 1.1 reads `on` as true


def test_the_lock_has_every_extra_but_what_perf_alone_compares_with():
    header = (ROOT / "requirements.lock").read_text().split("\n")[1]
    for extra in PROJECT["optional-dependencies"].keys() - {"perf"}:
        assert f"--extra {extra}" in header or "--all-extras" in header, extra
