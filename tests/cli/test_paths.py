"""`localgpt paths`."""

from __future__ import annotations

from tests.cli.command import home

__all__ = ["home"]


def test_every_place_is_named_and_nothing_is_made(home):
    report = home.ok("paths", "--json").json
    assert report["config"] == str(home.config_file)
    assert report["device_key"] == str(home.data / "localgpt.device.key")
    assert report["workspace"] == str(home.workspace)
    assert report["audit_log"] == str(home.state / "audit")
    assert all(path in home.ok("paths").out for path in report.values())
    assert list(home.path.iterdir()) == []


def test_variables_and_profiles_move_them(home):
    home.extra.update({"LOCALGPT_STATE_DIR": "/srv/state", "LOCALGPT_DATA_DIR": "relative"})
    result = home.run("--profile", "work", "paths", "--json")
    assert result.json["audit_log"] == "/srv/state/audit"
    assert result.json["data"] == str(home.path / ".local/share/localgpt-work")
    assert result.err == "warning: LOCALGPT_DATA_DIR=relative is ignored: not an absolute path\n"


def test_the_workspace_of_the_configuration_counts(home):
    home.write_config('[memory]\nworkspace = "~/.localgpt/workspace"\n')
    assert home.ok("paths", "--json").json["workspace"] == str(home.path / ".localgpt/workspace")
