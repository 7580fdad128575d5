from datetime import UTC, datetime, timedelta

from drift.rollups import Rollups
from tests.drift.test_labels import verdict

AT = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


def at(hours: float, p_ai: float = 0.9, tenant: str = "t"):
    return verdict("u", p_ai, tenant).model_copy(update={"decided_at": AT + timedelta(hours=hours)})


def test_shares_by_model_tenant_and_hour():
    rollups = Rollups({}, 48)
    rollups.count(at(0), 0, 1)
    rollups.count(at(0, 0.1), 1, 1)
    rollups.count(at(1, 0.5, "odd\0name"), 0, 2)
    rows = [share.as_json() for share in rollups.shares()]
    assert [(row["hour"], row["tenant"], row["verdicts"]) for row in rows] == [
        ("2026-01-01T13:00Z", "odd\0name", 1),
        ("2026-01-01T12:00Z", "t", 2),
    ]
    assert rows[1]["shares"] == {"ai_generated": 0.5, "authentic": 0.5, "uncertain": 0.0}
    assert rollups.latest(AT)["d" * 64]["authentic"] == 1


def test_a_verdict_that_comes_again_counts_once_even_in_a_second_life():
    table: dict = {}
    assert Rollups(table, 48).count(at(0), 0, 7)
    assert not Rollups(table, 48).count(at(0), 0, 7)
    assert Rollups(table, 48).count(at(0), 1, 7)
    assert Rollups(table, 48).shares()[0].counts["ai_generated"] == 2


def test_old_hours_go_partition_by_partition():
    table: dict = {}
    rollups = Rollups(table, 3)
    rollups.count(at(0), 0, 1)
    rollups.count(at(0), 1, 1)
    rollups.count(at(5), 0, 2)
    assert sorted(key.split("\0")[0] for key in table) == ["0", "1"]
    rollups.count(at(5), 1, 2)
    assert [share.hour for share in rollups.shares()] == ["2026-01-01T17:00Z"]
