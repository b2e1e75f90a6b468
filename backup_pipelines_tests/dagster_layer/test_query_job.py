"""SQL over backups by Dagster."""

from backup_pipelines_tests.dagster_layer.conftest import Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.dagster_layer.test_verify_jobs import records


def test_the_answer_is_in_the_run(shop: Shop) -> None:
    """A markdown table of so many rows; over many backups with their ids; errors fail the run."""
    first = shop.backup()
    shop.database.run("UPDATE orders SET note = 'a|b\nc' WHERE id = 1")
    second = shop.backup()

    def answer(**config: object) -> dict[str, object]:
        result = shop.run("shop_query", config)
        assert result.success
        events = [e for e in result.all_events if e.is_successful_output or e.is_step_success]
        assert events
        [shown] = [
            e.step_output_data.metadata
            for e in result.all_events
            if e.is_successful_output and "answer" in e.step_output_data.metadata
        ]
        return {name: value.value for name, value in shown.items()}

    shown = answer(sql="SELECT id, note, NULL AS n FROM orders ORDER BY id", rows=2)
    lines = ["| id | note | n |", "| --- | --- | --- |", "| 1 | a\\|b c | NULL |"]
    assert shown["answer"] == "\n".join([*lines, "| 2 | x | NULL |"])
    assert (shown["backup"], shown["rows"], shown["more_rows"]) == (second, 2, True)
    assert records(shop)[-1] == ("query", "done", second)

    sql = "SELECT backup_id, note FROM orders WHERE id = 1 ORDER BY backed_up_at"
    many = answer(sql=sql, as_of="all")
    assert str(many["answer"]).splitlines()[2:] == [f"| {first} | x |", f"| {second} | a\\|b c |"]
    assert (many["backups"], many["more_rows"]) == (2, False)

    message, code = failure(shop.run("shop_query", {"sql": "DROP TABLE orders"}))
    assert (code, "give one statement that returns rows" in message) == (2, True)
    assert records(shop)[-1][:2] == ("query", "refused")
    both = shop.run("shop_query", {"sql": sql, "as_of": "all"}, partition=first)
    assert "leave the partition or as_of out" in failure(both)[0]
