"""Rollouts by command: what a person reads, what a program reads, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import done, run_here
from tests.cli.conftest import audited

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _shop(published: Path) -> None:
    """T_1 with 1.0.1, which is stable, 1.0.0, which was, and 1.0.2, which was rolled back from."""
    done("rollback", "T_1")


def facts(*arguments: object) -> dict[str, str]:
    """Return what a command says of how the channel stands."""
    first = done(*arguments).split("\n\n")[0]
    return dict(line.split("\t") for line in first.splitlines())


def test_without_a_rollout_status_says_how_to_begin_one() -> None:
    assert facts("rollout", "status", "T_1") == {
        "Channel": "T_1",
        "Stable": "1.0.1",
        "Candidate": "–",
        "Shadow": "–",
        "Next": "nothing is being rolled out: `shelfsight rollout start T_1 VERSION`",
    }


def test_a_rollout_is_told_in_words_from_beginning_to_end() -> None:
    said = facts("rollout", "start", "T_1", "1.0.2", "--reason", "new camera")
    began, stage = said.pop("Began"), said.pop("Stage")
    assert said == {
        "Channel": "T_1",
        "Stable": "1.0.1",
        "Candidate": "–",
        "Shadow": "1.0.2 10 %",
        "Next": "10 %",
        "For": "every device",
        "To be taken back above": "5.0 % of errors",
        "Evidence": "not looked at: nothing judges what devices report yet, so it goes by hand",
        "Why": "new camera",
    }
    assert began.endswith(" by cli:anna")
    assert stage.startswith("shadow 10 % since 20")
    assert facts("rollout", "advance", "T_1")["Candidate"] == "1.0.2 10 %"
    held = facts("rollout", "hold", "T_1")["Next"]
    assert held.startswith("50 %, once it is resumed: held since 20")
    assert facts("rollout", "resume", "T_1")["Next"] == "50 %"
    said = facts("rollout", "advance", "T_1", "--to", "62.5")
    assert (said["Candidate"], said["Next"]) == ("1.0.2 62.5 %", "100 %, where it becomes stable")
    said = facts("rollout", "advance", "T_1", "--shadow", "20")
    assert (said["Candidate"], said["Shadow"]) == ("–", "1.0.2 20 %")
    said = facts("rollout", "advance", "T_1", "--to", "100")
    assert (said["Stable"], said["Shadow"]) == ("1.0.2", "–")
    assert [(entry.actor, entry.subject) for entry in audited("rollout_completed")] == [("cli:anna", "v1.0.2")]


def test_every_option_of_a_start_arrives() -> None:
    options = ("--percentage", "5", "--stages", "25,75", "--platform", "web", "--platform", "ios", "--tier", "high",
               "--threshold", "0.1", "--min-app-version", "2.1.0")  # fmt: skip
    said = facts("rollout", "start", "T_1", "1.0.2", *options)
    assert (said["For"], said["App"]) == ("web or ios, high", "2.1.0 or newer")
    assert (said["To be taken back above"], said["Next"]) == ("10.0 % of errors", "25 %")
    found = json.loads(done("rollout", "status", "T_1", "--json"))
    assert found["candidate"] == {"version": "1.0.2", "percentage": 5.0}
    assert found["running"]["rollout"]["stages"] == [25.0, 75.0]


def test_status_and_history_say_how_rollouts_ended() -> None:
    for number in range(6):
        done("rollout", "start", "T_1", "1.0.2")
        back = json.loads(done("rollout", "rollback", "T_1", "--reason", f"beeps {number}", "--json"))
        assert (back["stable"], back["running"]) == ("1.0.1", None)
    lines = done("rollout", "status", "T_1").split("\n\n")[1].splitlines()
    assert lines[0].split("\t") == ["Version", "Began", "By", "Ended", "Outcome", "Why"]
    rows = [line.split("\t") for line in lines[1:]]
    assert [(row[0], row[2], row[4], row[5]) for row in rows] == [
        ("1.0.2", "cli:anna", "rolled back", f"beeps {number}") for number in (5, 4, 3, 2, 1)
    ]
    assert len(done("rollout", "history", "T_1").splitlines()) == 7
    found = json.loads(done("rollout", "history", "T_1", "--json"))
    assert [one["reason"] for one in found] == [f"beeps {number}" for number in (5, 4, 3, 2, 1, 0)]
    done("rollout", "start", "T_1", "1.0.2")
    assert done("rollout", "history", "T_1").splitlines()[1].split("\t")[4] == "runs"


def test_at_a_terminal_shares_are_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    from shelfsight.cli import rollout
    from shelfsight.cli.service import opened_service
    from shelfsight.rollout import store

    done("rollout", "start", "T_1", "1.0.2", "--percentage", "25")
    with opened_service() as service, service.database.read() as tx:
        standing = store.standing(tx, "T_1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert dict(rollout._facts(standing))["Candidate"] == "1.0.2 █████░░░░░░░░░░░░░░░ 25 %"


def test_where_nothing_is_rolled_out_the_stable_version_is_taken_back() -> None:
    assert facts("rollout", "rollback", "T_1")["Stable"] == "1.0.0"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["start", "T_1", "9.9.9"], 1, "T_1 has no version 9.9.9; it has 1.0.2, 1.0.1, 1.0.0"),
        (["start", "T_1", "1.0.1"], 3, "is the stable one"),
        (["start", "T_9", "1.0.1"], 1, "there is no channel 'T_9'"),
        (["start", "default", "1.0.1"], 1, "default has no version 1.0.1; it has none"),
        (["start", "T_1", "1.0.2", "--shadow", "10", "--percentage", "10"], 2, "--percentage and --shadow exclude"),
        (["start", "T_1", "1.0.2", "--percentage", "0"], 2, "to 0 % of the devices is none"),
        (["start", "T_1", "1.0.2", "--percentage", "100"], 2, "100 % at once is no rollout"),
        (["start", "T_1", "1.0.2", "--percentage", "nan"], 2, "nan is no percentage"),
        (["start", "T_1", "1.0.2", "--shadow", "-5"], 2, "-5 % of the devices make no sense"),
        (["start", "T_1", "1.0.2", "--stages", "ten"], 2, "--stages 'ten' are no percentages"),
        (["start", "T_1", "1.0.2", "--stages", "50,10"], 2, "each larger than the one before"),
        (["start", "T_1", "1.0.2", "--platform", "windows"], 2, "'windows' is not one of"),
        (["start", "T_1", "1.0.2", "--threshold", "5"], 2, "a threshold of 5 makes no sense"),
        (["start", "T_1", "1.0.2", "--min-app-version", "new"], 2, "'new' is no version of an app"),
        (["advance", "T_1"], 3, "nothing is being rolled out in T_1"),
        (["advance", "T_1", "--to", "10", "--shadow", "5"], 2, "--to and --shadow exclude"),
        (["hold", "T_1"], 3, "nothing is being rolled out"),
        (["resume", "T_1"], 3, "nothing is being rolled out"),
        (["rollback", "default"], 1, "default has no stable version to roll back from"),
        (["status", "T_9"], 1, "there is no channel 'T_9'"),
        (["history", "T_9"], 1, "there is no channel 'T_9'"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], code: int, said: str) -> None:
    refused = run_here("rollout", *arguments)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr


def test_a_rollout_that_is_held_or_runs_is_in_the_way_of_others() -> None:
    done("rollout", "start", "T_1", "1.0.2")
    assert "is being rolled out: let that come to its end" in run_here("rollout", "start", "T_1", "1.0.0").stderr
    done("rollout", "hold", "T_1")
    assert "is held: `shelfsight rollout resume T_1` first" in run_here("rollout", "advance", "T_1").stderr
    assert facts("rollout", "advance", "T_1", "--shadow", "5")["Shadow"] == "1.0.2 5 %"
