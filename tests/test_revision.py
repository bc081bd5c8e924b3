"""The git revision that is recorded, beside what git itself says."""

import os
import subprocess

import pytest
import torch

from holdfast.environment import environment
from holdfast.revision import git_revision

#: git as these tests use it: of the user's own settings nothing.
ALONE = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}


def git(folder, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", "-C", str(folder), *who, *arguments]
    done = subprocess.run(command, env=ALONE, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "below").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "some/branch")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def test_it_is_gits(repository, tmp_path):
    def check(folder):
        assert git_revision(folder) == git(folder, "rev-parse", "HEAD")

    check(repository)
    check(repository / "below")
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "other")
    git(tmp_path / "tree", "commit", "-q", "--allow-empty", "-m", "second")
    check(tmp_path / "tree")
    git(repository, "pack-refs", "--all")
    check(repository)
    check(tmp_path / "tree")
    git(repository, "checkout", "-q", "--detach")
    check(repository)


def test_without_a_revision_there_is_none(tmp_path):
    (tmp_path / ".git").mkdir()
    assert git_revision(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert git_revision(tmp_path) is None


def test_a_repository_commands_nothing(repository, monkeypatch):
    """git runs the monitor of files that a repository's configuration names."""
    monitor = repository / "monitor"
    monitor.write_text("#!/bin/sh\ntouch exploded\n")
    monitor.chmod(0o755)
    (repository / "file").touch()
    git(repository, "add", "file")
    git(repository, "commit", "-q", "-m", "second")
    git(repository, "config", "core.fsmonitor", str(monitor))
    monkeypatch.chdir(repository)
    assert environment()["git"] == git(repository, "rev-parse", "HEAD")
    assert not (repository / "exploded").exists()


def test_nothing_but_a_hash_is_passed_on(repository, tmp_path):
    (tmp_path / "secret").write_text("a secret")
    (tmp_path / "hash").write_text("0" * 40)
    for head in (
        "ref: refs/../../../secret",
        "ref: refs/../../../hash",
        f"ref: {tmp_path}/hash",
        "a secret",
        "ref: ",
        "\0",
    ):
        (repository / ".git" / "HEAD").write_text(head)
        assert git_revision(repository) is None
    (repository / ".git" / "HEAD").unlink()
    os.mkfifo(repository / ".git" / "HEAD")
    assert git_revision(repository) is None


@pytest.mark.parametrize(
    ("card", "convolutions", "override", "said"),
    [
        (False, True, "", None),
        (True, True, "", True),
        (True, False, "", False),
        (True, True, "0", False),
    ],
)
def test_the_record_says_whether_a_gpu_multiplies_with_ten_bits(
    monkeypatch, card, convolutions, override, said
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", convolutions)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    assert environment()["hardware"]["tf32"] is said
