"""Taking a backup: what is in it, what is refused, what a failure leaves."""
from backup_pipelines.drill import run_drill
from backup_pipelines_tests.fix_backup import back_up, ignore

def test_smoke(any_server, make_database, store):
    db = make_database(any_server)
    db.run("create table a(id int primary key, b text); insert into a select g, 'x' from generate_series(1,100) g")
    sealed = back_up(db.reader_url, store)
    result = run_drill(store, sealed, any_server.url(), report=ignore)
    assert result.rows == 100
