"""People are told: by real HTTP and mail, filtered, bounded in time, and without secrets."""

import json
import logging
import os
import string
import subprocess
import sys
import time
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from backup_pipelines.messages import notify, scrub
from backup_pipelines.messages.notify import Event
from backup_pipelines.settings import NotificationSpec, Severity, Topic
from backup_pipelines.system import System
from backup_pipelines_tests.fix_receivers import (
    Behaviour,
    HttpReceiver,
    HttpReceivers,
    SmtpReceiver,
    free_port,
)

URLS = "BACKUP_NOTIFY_URLS"

FAILED = Event(
    system="crm",
    topic="backup",
    severity="error",
    title="crm: backup failed",
    facts={"message": "permission denied for table deals", "tables": 12, "seconds": 3.5},
    advice="GRANT SELECT ON public.deals TO reader",
    run_id="8d3f",
)


@pytest.fixture(autouse=True)
def _no_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (URLS, "PAGER_URLS", notify.DAGSTER_URL):
        monkeypatch.delenv(name, raising=False)


def system(*specs: NotificationSpec) -> System:
    """A system with these notifications, or with the default's."""
    more = {"notifications": list(specs)} if specs else {}
    return System(system="crm", database_url_env="CRM_DATABASE_URL", modules={}, **more)


def event(topic: Topic, severity: Severity) -> Event:
    """An event of which nothing but this matters."""
    return Event("crm", topic, severity, f"crm: {topic} {severity}", {})


def titles(receiver: HttpReceiver) -> list[str]:
    """What a receiver was told, in order."""
    return [request.json["title"] for request in receiver.received]


def test_an_http_channel_gets_facts_link_and_advice(
    http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message says what happened, the numbers, where to look and what to do."""
    monkeypatch.setenv(URLS, http_receiver.url("json", "/hook"))
    monkeypatch.setenv(notify.DAGSTER_URL, "http://dagster.example:3000/")
    assert notify.send(system(), FAILED) == []
    [request] = http_receiver.received
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.json["title"] == "crm: backup failed"
    assert request.json["type"] == "failure"
    assert request.json["message"] == (
        "message: permission denied for table deals\n"
        "tables: 12\n"
        "seconds: 3.5\n"
        "\n"
        "run: http://dagster.example:3000/runs/8d3f\n"
        "\n"
        "GRANT SELECT ON public.deals TO reader"
    )


def test_every_title_begins_with_the_system(
    http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether an event's title names the system or not, the message does, once."""
    monkeypatch.setenv(URLS, http_receiver.url("json"))
    for title in ("guard shrink is red", "crm: guard shrink is red"):
        assert notify.send(system(), Event("crm", "guard", "error", title, {})) == []
    assert titles(http_receiver) == ["crm: guard shrink is red"] * 2


def test_mail_gets_facts_link_and_advice(
    smtp_receiver: SmtpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same message arrives by mail, its title as the subject."""
    monkeypatch.setenv(URLS, smtp_receiver.url())
    monkeypatch.setenv(notify.DAGSTER_URL, "http://dagster.example:3000")
    assert notify.send(system(), FAILED) == []
    [mail] = smtp_receiver.received
    assert mail["Subject"] == "crm: backup failed"
    assert "oncall@example.com" in mail["To"]
    for line in ("permission denied for table deals", "tables: 12", "/runs/8d3f", "GRANT SELECT"):
        assert line in smtp_receiver.text()


@pytest.mark.parametrize(
    ("severity", "kind"), [("info", "success"), ("warning", "warning"), ("error", "failure")]
)
def test_the_severity_is_the_colour_of_the_message(
    severity: Severity, kind: str, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apprise is told how bad it is, which services show as colours and icons."""
    monkeypatch.setenv(URLS, http_receiver.url("json"))
    assert notify.send(system(), event("drill", severity)) == []
    assert http_receiver.received[0].json["type"] == kind


def test_each_part_of_the_yaml_has_its_own_filters(
    http_receivers: HttpReceivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel gets only the operations and severities that its part of the YAML wants."""
    everyone, pager = http_receivers.start(), http_receivers.start()
    monkeypatch.setenv(URLS, everyone.url("json"))
    monkeypatch.setenv("PAGER_URLS", pager.url("json"))
    told = system(
        NotificationSpec(),
        NotificationSpec(urls_env="PAGER_URLS", events=["backup", "guard"], severity="warning"),
        NotificationSpec(urls_env="", severity="info"),
    )
    sent = [
        event(topic, severity)
        for topic in ("backup", "drill", "guard")
        for severity in ("info", "warning", "error")
    ]
    for each in sent:
        assert notify.send(told, each) == []
    assert titles(everyone) == [each.title for each in sent]
    assert titles(pager) == [
        each.title for each in sent if each.topic != "drill" and each.severity != "info"
    ]


def test_a_url_that_two_parts_name_is_told_once(
    http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads the same message twice."""
    monkeypatch.setenv(URLS, http_receiver.url("json"))
    told = system(NotificationSpec(), NotificationSpec(events=["backup"]))
    assert notify.send(told, FAILED) == []
    assert len(http_receiver.received) == 1


def test_a_dead_channel_is_named_and_the_others_are_told(
    http_receivers: HttpReceivers, smtp_receiver: SmtpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each channel that failed is one sentence: which, why, and nothing of its URL's secrets."""
    good, angry, rude = (
        http_receivers.start(),
        http_receivers.start(status=500),
        http_receivers.start("close"),
    )
    urls = [
        f"json://bot:hunter22@127.0.0.1:{free_port()}/T0PSECRET",
        angry.url("json", "/T0PSECRET"),
        rude.url("json", "/T0PSECRET"),
        smtp_receiver.url("wrong-hunter22"),
        "nonsense://T0PSECRET/hunter22",
        "T0PSECRET",
        good.url("json"),
    ]
    monkeypatch.setenv(URLS, " ".join(urls))
    problems = notify.send(system(), FAILED)
    assert titles(good) == ["crm: backup failed"]
    assert smtp_receiver.received == []
    for problem, words in zip(
        problems,
        [
            "URL 1 (json://): Connection refused",
            "URL 2 (json://): Failed to send JSON POST notification: Internal server error., "
            "error=500",
            "URL 3 (json://): closed the connection without an answer",
            "URL 4 (mailto://): 535 5.7.8 Authentication credentials invalid",
            "URL 5 (nonsense://): Apprise does not understand it",
            "URL 6 (without a scheme): Apprise does not understand it",
        ],
        strict=True,
    ):
        assert problem.startswith(f"{URLS}, {words}")
        assert "T0PSECRET" not in problem
        assert "hunter22" not in problem


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_a_channel_that_hangs_is_given_up(
    behaviour: Behaviour, http_receivers: HttpReceivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that never answers costs the deadline, and the others are told meanwhile."""
    slow, good = http_receivers.start(behaviour), http_receivers.start()
    monkeypatch.setenv(URLS, f"{slow.url('json')}?rto=60 {good.url('json')}")
    begun = time.monotonic()
    problems = notify.send(system(), FAILED, deadline_seconds=1)
    assert time.monotonic() - begun < 5
    assert problems == [f"{URLS}, URL 1 (json://): did not answer within 1 s"]
    assert titles(good) == ["crm: backup failed"]


def test_a_channel_that_is_slow_to_read_says_so(
    http_receivers: HttpReceivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timeout of the URL's own is told like any failure."""
    slow = http_receivers.start("hang")
    monkeypatch.setenv(URLS, f"{slow.url('json')}?rto=0.2")
    assert notify.send(system(), FAILED) == [f"{URLS}, URL 1 (json://): did not answer in time"]


def test_nothing_that_leaves_has_a_secret(
    http_receiver: HttpReceiver,
    smtp_receiver: SmtpReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Credentials in title, facts, advice and link are masked, and logs show no URL."""
    logged: list[logging.LogRecord] = []
    listener = logging.Handler()
    monkeypatch.setattr(listener, "emit", logged.append)
    monkeypatch.setattr(logging.root, "handlers", [*logging.root.handlers, listener])
    monkeypatch.setenv(URLS, f"{http_receiver.url('json', '/T0PSECRET')} {smtp_receiver.url()}")
    monkeypatch.setenv("CRM_DATABASE_URL", "postgresql://reader:p%40ss-word-1@db.example/crm")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv(notify.DAGSTER_URL, "https://ops:dagster-pw@dagster.example")
    leaking = Event(
        system="crm",
        topic="restore",
        severity="error",
        title="crm: restore failed by postgresql://owner:title-pw@db/crm",
        facts={
            "p@ss-word-1": "p%40ss-word-1",
            "message": "host=db password='fact pw' user=x; api_key=k-123456",
            "store": "s3://bucket wJalrXUtnFEMI",
            "urls": os.environ[URLS],
            "mail": smtp_receiver.password,
        },
        advice="curl -H 'Authorization: Bearer advice-token' https://u:advice-pw@host/",
        run_id="1",
    )
    assert notify.send(system(), leaking) == []
    received = json.dumps(http_receiver.received[0].json) + smtp_receiver.text()
    received += str(smtp_receiver.received[0]["Subject"])
    assert "db.example" not in received
    assert "dagster.example/runs/1" in received
    secrets = ["p@ss-word-1", "p%40ss-word-1", "wJalrXUtnFEMI", "dagster-pw", "title-pw"]
    secrets += ["fact pw", "k-123456", "advice-token", "advice-pw", "T0PSECRET"]
    secrets += ["correct-horse-5"]
    for secret in secrets:
        assert secret not in received
    assert [record.name for record in logged if record.name.startswith("apprise")] == []


def test_long_texts_are_cut_after_they_are_scrubbed(
    http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No message is endless, and no cut leaves the half of a secret."""
    monkeypatch.setenv(URLS, http_receiver.url("json"))
    monkeypatch.setenv("DB_PASSWORD", "half-of-it-would-show")
    long = Event(
        system="crm",
        topic="backup",
        severity="error",
        title="crm: " + "x" * 110 + "half-of-it-would-show",
        facts={f"fact {n}": "y" * 285 + "half-of-it-would-show\n" * 100 for n in range(50)},
        advice="z" * 5000,
    )
    assert notify.send(system(), long) == []
    told = http_receiver.received[0].json
    assert len(told["title"]) <= 120
    assert len(told["message"]) < 12_000
    assert "half" not in told["title"] + told["message"]
    assert "and 20 more" in told["message"]


def test_nothing_configured_costs_nothing() -> None:
    """Without URLs, or without a channel that wants the event, Apprise is not even imported."""
    script = """
import os, sys
from backup_pipelines.messages import notify
from backup_pipelines.settings import NotificationSpec
from backup_pipelines.system import System

def told(**more):
    system = System(system="crm", database_url_env="CRM_DATABASE_URL", modules={}, **more)
    return notify.send(system, notify.Event("crm", "backup", "info", "crm: backup done", {}))

os.environ.pop("BACKUP_NOTIFY_URLS", None)
assert told() == []
os.environ["BACKUP_NOTIFY_URLS"] = "json://127.0.0.1:1"
assert told(notifications=[]) == []
assert told(notifications=[NotificationSpec(events=["drill"])]) == []
assert told(notifications=[NotificationSpec(severity="warning")]) == []
assert "apprise" not in sys.modules and "dagster" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_an_interpreter_ends_while_a_channel_hangs(http_receivers: HttpReceivers) -> None:
    """A receiver that was given up does not keep the process alive."""
    script = f"""
import os
from backup_pipelines.messages import notify
from backup_pipelines.system import System

os.environ["BACKUP_NOTIFY_URLS"] = "{http_receivers.start("drip").url("json")}"
system = System(system="crm", database_url_env="CRM_DATABASE_URL", modules={{}})
event = notify.Event("crm", "backup", "info", "crm: backup done", {{}})
assert len(notify.send(system, event, deadline_seconds=0.5)) == 1
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize(
    ("dagster_url", "link"),
    [
        ("", ""),
        ("http://host:3000", "http://host:3000/runs/abc"),
        ("http://host:3000/ui/", "http://host:3000/ui/runs/abc"),
    ],
)
def test_the_link_of_a_run_needs_to_know_where_the_ui_is(
    dagster_url: str, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without DAGSTER_URL, or without a run, there is no link."""
    monkeypatch.setenv(notify.DAGSTER_URL, dagster_url)
    assert notify.run_url("abc") == link
    assert notify.run_url("") == ""


# What a mask is made of could stand for itself.
SECRETS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("C", "Z")),
    min_size=4,
    max_size=40,
).filter(lambda text: set(text) != {"*"} and text.lower() not in {"true", "null", "false", "none"})
WORDS = st.text(string.ascii_letters + string.digits + " .,;\n", max_size=40)


@given(secret=SECRETS, before=WORDS, after=WORDS, name=st.sampled_from(["PGPASSWORD", "X_TOKEN"]))
def test_values_of_secret_variables_never_pass(
    secret: str, before: str, after: str, name: str
) -> None:
    """What a variable with such a name holds is masked wherever it stands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, secret)
        assert secret not in scrub.scrub(f"{before}{secret}{after}").replace(scrub.MASK, "\0")


@given(secret=SECRETS, before=WORDS, after=WORDS)
@example(secret="p@ss/word:1", before="see ", after=" there")
def test_passwords_of_urls_in_variables_never_pass(secret: str, before: str, after: str) -> None:
    """A password in a URL is masked as it is written there and as it is meant, alone too."""
    url = f"postgresql://reader:{quote(secret, safe='')}@db.example:5432/crm"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOME_DATABASE_URL", url)
        for text in (secret, url, quote(secret, safe="")):
            found = scrub.scrub(f"{before}{text}{after}").replace(scrub.MASK, "\0")
            assert secret not in found
            assert quote(secret, safe="") not in found


@given(secret=SECRETS, before=WORDS, after=WORDS)
def test_passwords_of_unknown_urls_never_pass(secret: str, before: str, after: str) -> None:
    """A URL with credentials is masked though no variable has it, escaped or not."""
    for written in (quote(secret, safe=""), secret):
        text = f"{before} amqp://user:{written}@host/x {after}"
        assert scrub.scrub(text) == f"{before} amqp://{scrub.MASK}@host/x {after}"


@given(
    secret=st.text(string.ascii_letters + string.digits + "!$%/+=-_.:@#", min_size=4, max_size=40),
    name=st.sampled_from(["password", "PGPASSWORD", "client_secret", "api-key", "x.token", "pwd"]),
    form=st.sampled_from(["{n}={s}", "{n}: {s}", '"{n}": "{s}"', "{n}='{s}'", "?{n}={s}&a=b"]),
)
def test_values_of_secret_names_never_pass(secret: str, name: str, form: str) -> None:
    """password=..., "token": "..." and their like are masked, quoted or not."""
    assume(secret not in f"a {form.format(n=name, s='')}, b{scrub.MASK}")
    found = scrub.scrub(f"a {form.format(n=name, s=secret)}, b")
    assert secret not in found
    assert scrub.MASK in found
    assert found.startswith("a ")
    assert found.endswith(", b")


def test_ordinary_text_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no secret stays readable: tables, hosts, links, times, short values."""
    monkeypatch.setenv("SHORT_KEY", "no")
    monkeypatch.setenv("TOKEN_WANTED", "true")
    text = (
        "no: column public.deals.primary_key is true; https://dagster.example:3000/runs/1 at 2:00, "
        "mail oncall@example.com, password authentication failed for user reader"
    )
    assert scrub.scrub(text) == text
