"""What needs no host."""

import asyncio
import gzip
import json
import sys
import textwrap
import types
from urllib.parse import urlsplit

import pytest

from hms_window import (
    Event,
    FetchError,
    Headers,
    Problem,
    Request,
    Response,
    Site,
    Store,
    call,
    entity_tag,
    span,
)
from hms_window import serve
from hms_window._host import NoHost
from hms_window.build import reason, sdk_section, used
from hms_window.embed import files, is_hashed
from hms_window.grant import grant_of
from hms_window.paging import page
from hms_window.site import _part
from hms_window.serve import explained, failure


def test_segments_are_decoded_after_they_are_split():
    assert Request(path="/docs/a%2Fb%20c").segments == ["docs", "a/b c"]
    assert Request(path="/docs/").segments == ["docs", ""]
    assert Request(path="/").segments == [""]


def test_parameters_are_typed_and_a_wrong_one_is_named():
    request = Request(query="limit=20&cursor=a%26b&limit=30&bad=x")
    assert request.param("limit", int, 50) == 20
    assert request.params("limit", int) == [20, 30]
    assert request.param("cursor") == "a&b"
    assert request.param("offset", int) is None
    with pytest.raises(Problem, match="'bad'") as refused:
        request.param("bad", int)
    assert refused.value.status == 400


def test_caller_is_read_from_the_gateway_headers():
    headers = Headers({"X-HMS-User": "zoë", "x-hms-scopes": "docs.read docs.write"})
    caller = Request(headers=headers).caller()
    assert caller.user == "zoë"
    assert caller.has_scope("docs.write") and not caller.has_scope("docs")
    with pytest.raises(Problem) as refused:
        Request().caller()
    assert refused.value.status == 401


def test_body_that_is_no_json_or_another_is_400():
    assert Request(body=b'{"a": 1}').json(dict) == {"a": 1}
    for body, kind in [(b"", None), (b"{", None), (b"[]", dict), (b"\xff", None)]:
        with pytest.raises(Problem) as refused:
            Request(body=body).json(kind)
        assert refused.value.status == 400


def test_cookie_is_found_whatever_the_others_hold_and_in_any_field():
    fields = [("cookie", 'a={"x":1}; path=1; prefs=a,session=evil'), ("cookie", "session=good; b[]=2")]
    request = Request(headers=Headers(fields))
    assert (request.cookie("session"), request.cookie("b[]")) == ("good", "2")
    assert request.cookie("a") == '{"x":1}'
    assert request.cookie("evil") is None


def test_problem_that_quotes_half_a_surrogate_pair_is_sent():
    sent = Problem.bad_request("no kind '\ud800'").response("r-1")
    assert json.loads(sent.body)["detail"] == "no kind '?'"


def test_path_of_a_call_names_no_other_window():
    for path in ("-private/x", "@evil/x", ".evil/x"):
        with pytest.raises(FetchError):
            asyncio.run(call("docs", path))


def test_problem_is_sent_as_rfc_9457_says():
    sent = Problem.bad_request("the amount is missing").response("r-1")
    assert sent.status == 400
    assert sent.headers["content-type"] == "application/problem+json"
    assert json.loads(sent.body) == {
        "type": "urn:hms:problem:bad-request",
        "title": "Bad Request",
        "status": 400,
        "detail": "the amount is missing",
        "request-id": "r-1",
    }
    assert Problem.method_not_allowed("GET, HEAD").headers["allow"] == "GET, HEAD"
    assert Problem(503, "busy", "later").retry_after(1.5).headers["retry-after"] == "2"


def test_exception_is_500_and_only_the_log_says_why(capsys):
    def charge():
        raise KeyError("card")

    with pytest.raises(KeyError) as raised:
        charge()
    problem = failure(raised.value)
    assert problem.status == 500 and "card" not in problem.detail
    said = capsys.readouterr().err
    assert said.startswith("KeyError: 'card'") and "test_window.py" in said.splitlines()[1]


def test_cause_of_an_exception_is_said_after_it():
    try:
        try:
            raise OSError("disk")
        except OSError as error:
            raise ValueError("no fee") from error
    except ValueError as error:
        text = explained(error)
    assert text.index("ValueError: no fee") < text.index("because of OSError: disk")


def test_lines_of_an_error_and_its_cause_are_shown_where_there_are_no_files(monkeypatch):
    source = "def inner():\n    1 / 0\n\ntry:\n    inner()\nexcept ArithmeticError as error:\n"
    source += "    raise ValueError('bad') from error\n"
    monkeypatch.setitem(serve._sources, "/0/app.py", source.splitlines())
    try:
        exec(compile(source, "/0/app.py", "exec"), {})
    except ValueError as error:
        told = explained(error).splitlines()
    assert told[:2] == ["ValueError: bad", "  app.py:7 in <module>: raise ValueError('bad') from error"]
    assert "  app.py:2 in inner: 1 / 0" in told


def test_event_in_binary_mode_is_read():
    headers = Headers({
        "x-hms-delivery": "fees; attempt=2; round=1",
        "ce-id": "7", "ce-source": "urn:hms:window:payments", "ce-specversion": "1.0",
        "ce-type": "gov.payment.paid.v1", "ce-subject": "a%20b", "content-type": "application/json",
    })  # fmt: skip
    event = Request(headers=headers, body=b'{"amount": 1}').event()
    assert (event.subscription, event.attempt, event.replay_round) == ("fees", 2, 1)
    assert (event.type, event.subject) == ("gov.payment.paid.v1", "a b")
    assert event.json() == {"amount": 1}
    assert event.once_key == "event/fees/1/urn:hms:window:payments/7"


def test_event_in_structured_mode_is_read():
    headers = Headers({"x-hms-delivery": "fees", "content-type": "application/cloudevents+json"})
    members = {"specversion": "1.0", "id": "7", "source": "s", "type": "t", "data": {"a": 1}}
    event = Request(headers=headers, body=json.dumps(members).encode()).event()
    assert event.json() == {"a": 1} and event.attempt == 1
    members = {**members, "data": None, "data_base64": "AP8="}
    event = Request(headers=headers, body=json.dumps(members).encode()).event()
    assert event.data == b"\x00\xff"


def test_request_of_a_client_is_no_event():
    def status(headers):
        with pytest.raises(Problem) as refused:
            Request(headers=Headers(headers)).event()
        return refused.value.status

    assert status({"ce-id": "1"}) == 403
    for mark in ["", "; attempt=1", "a; attempt=x", "a; round=-1"]:
        assert status({"x-hms-delivery": mark}) == 400


def test_data_of_an_event_are_json_or_bytes():
    assert Event("t", {"a": 1}).payload() == ("application/json", b'{"a":1}')
    assert Event("t", b"x").payload() == ("application/octet-stream", b"x")
    assert Event("t").payload() == ("", b"")


def test_pages_of_any_size_show_every_key_once_and_in_order():
    def host(count, size):
        def fetch(cursor):
            start = int(cursor or 0)
            end = min(count, start + size)
            return [f"{key:02}" for key in range(start, end)], str(end) if end < count else None

        return fetch

    for count in range(12):
        for size in range(1, 6):
            for limit in range(1, 6):
                seen, cursor = [], None
                while True:
                    found = page(cursor, limit, host(count, size))
                    assert len(found.keys) == limit or found.next is None
                    seen += found.keys
                    cursor = found.next
                    if cursor is None:
                        break
                assert seen == [f"{key:02}" for key in range(count)]


def test_foreign_cursor_is_rejected():
    for wrong in ["", "x", "9.abc", "-1.a", "1.é", "١.a"]:
        with pytest.raises(ValueError):
            page(wrong, 5, lambda cursor: (["a"], None))


def test_answer_has_the_headers_it_is_given():
    answer = Response.json({"a": 1}, 201, {"location": "/a"}).header("x-a", "1").header("x-a", "2")
    assert answer.headers.get_all("x-a") == ["2"]
    assert answer.headers["Content-Type"] == "application/json"


def test_store_outside_of_a_window_says_so():
    with pytest.raises(NoHost, match="inside of a window"):
        Store("fees")


def test_transactions_and_spans_are_found_in_the_source(tmp_path):
    for source, expected in [
        ("from hms_window import Store", set()),
        ("from hms_window import Store, transaction", {"transaction"}),
        ("from hms_window import span", {"span"}),
        ("from hms_window import *", {"transaction"}),
        ("from hms_window import *\nspan('a')", {"transaction", "span"}),
        ("import hms_window as w", {"transaction"}),
        ("import hms_window as w\nw.span('a')", {"transaction", "span"}),
        ("from other import transaction, span", set()),
        ("def (", set()),
    ]:
        file = tmp_path / "app.py"
        file.write_text(source)
        assert used(file) == expected, source


def test_span_outside_of_a_window_does_nothing():
    with span("part"):
        pass
    with pytest.raises(KeyError), span("part"):
        raise KeyError


def test_refused_call_names_what_allows_it_and_a_window_by_its_name():
    for url, expected in [
        (
            "https://API.card.example:443/v1/charges?a=b",
            '{to: "https://api.card.example", methods: ["POST"], paths: ["/v1/charges"]}',
        ),
        (
            "http://[2001:db8::1]:8080",
            '{to: "http://[2001:db8::1]:8080", methods: ["POST"], paths: ["/"]}',
        ),
        (
            "http://a.example/{id}/**",
            '{to: "http://a.example", methods: ["POST"], paths: ["/%7Bid%7D/%2A%2A"]}',
        ),
    ]:
        assert grant_of(urlsplit(url), "POST") == f"outbound: [{expected}]"
    for host in ["hms-svc-docs", "hms-svc-docs:8080", "docs.spin.internal"]:
        assert grant_of(urlsplit(f"http://{host}"), "GET") == "calls: [docs]"


def test_address_of_a_private_network_is_in_what_allows_a_call():
    near = ["127.0.0.1", "10.1.0.7", "172.31.0.1", "192.168.0.1"]
    near = [(host, f"{host}/32") for host in near]
    near += [(f"[{host}]", f"{host}/128") for host in ["::1", "fd00::1"]]
    for host, network in near:
        line = grant_of(urlsplit(f"http://{host}:8080/"), "GET")
        assert line.endswith(f'paths: ["/"], private: ["{network}"]}}]'), line
    for host in ["169.254.169.254", "[fe80::1]", "172.32.0.1", "192.0.2.7", "[2001:db8::1]", "localhost"]:
        assert "private" not in grant_of(urlsplit(f"http://{host}/"), "GET")


def test_middleware_is_found_in_the_source(tmp_path):
    for source, expected in [
        ("from hms_window import middleware", True),
        ("import hms_window as w\n@w.middleware\nasync def f(a, b): ...", True),
        ("from hms_window import *\n@middleware\nasync def f(a, b): ...", True),
        ("import hms_window\n@hms_window.window\ndef f(a): ...", False),
        ("from other import middleware", False),
    ]:
        file = tmp_path / "app.py"
        file.write_text(source)
        assert ("middleware" in used(file)) is expected, source


def test_failed_build_shows_the_authors_error_alone():
    stderr = textwrap.dedent("""\
        Traceback (most recent call last):
          File "/bin/componentize-py", line 8, in <module>
        AssertionError: Traceback (most recent call last):
          File "/1/hms_window_entry.py", line 3, in <module>
            import app
          File "/2/app.py", line 7, in <module>
            from wit_world.imports import store
        ImportError: cannot import name 'store'


        Caused by:
            ImportError

        Stack backtrace:
           0: x
        """)
    said = reason(stderr, "app")
    assert said.endswith("ImportError: cannot import name 'store'")
    assert 'File "app.py"' in said and "entry" not in said and "import app" not in said


def test_conditions_are_those_of_rfc_9110():
    def asked(method, **headers):
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return Request(method, headers=Headers(fields))

    assert asked("GET", if_none_match='W/"2", "3"').not_modified(2)
    assert not asked("GET", if_none_match='"a,b"').not_modified(2)
    assert not asked("GET", if_none_match="*").not_modified(None)
    assert not asked("PUT", if_match='"1", "2"').not_modified(2)
    for headers in [{"if_match": '"1"'}, {"if_match": 'W/"2"'}, {"if_none_match": "*"}]:
        with pytest.raises(Problem) as refused:
            asked("PUT", **headers).not_modified(2)
        assert refused.value.status == 412
    with pytest.raises(Problem) as refused:
        asked("PUT", if_match="2").not_modified(2)
    assert refused.value.status == 400
    assert entity_tag('a "b') == '"a%20%22b"'


def test_range_of_many_digits_is_ignored():
    assert _part("bytes=" + "9" * 5_000 + "-", 10) is None
    assert (_part("bytes=2-4", 10), _part("bytes=-3", 10)) == ((2, 5), (7, 10))


def test_json_with_half_a_surrogate_pair_is_the_clients_fault():
    with pytest.raises(Problem) as refused:
        Request(body=b'{"title": "\\ud800"}').json(dict)
    assert refused.value.status == 400
    paired = Request(body=b'{"title": "\\ud83d\\ude00"}').json(dict)
    assert paired == {"title": "\U0001f600"}


def test_site_answers_with_files_codings_parts_and_pages(tmp_path, monkeypatch):
    page = b"<p>" + b"hello " * 100
    for name, data in [("index.html", page), ("guide/index.html", b"g"), ("404.html", b"none")]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / ".hidden").write_text("x")
    found = files(tmp_path)
    assert sorted(found) == ["404.html", "guide/index.html", "index.html"]
    module = types.SimpleNamespace(SITES={"site": found})
    monkeypatch.setitem(sys.modules, "hms_window_sites", module)
    site = Site("site")

    def asked(path="/", **headers):
        path, _, query = path.partition("?")
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return site.answer(Request("GET", path, query, Headers(fields)))

    whole = asked()
    assert (whole.status, whole.body) == (200, page)
    assert "default-src 'self'" in whole.headers["content-security-policy"]
    assert whole.headers["hms-cache-control"] == "public, max-age=31536000"
    packed = asked(accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == page
    assert asked(if_none_match=whole.headers["etag"]).status == 304
    part = asked(range="bytes=-3", accept_encoding="gzip")
    assert (part.status, part.body) == (206, page[-3:])
    assert asked(range="bytes=9999-").status == 416
    assert asked(range="bytes=0-1", if_range='"old"').status == 200
    assert asked("/guide?a=b").headers["location"] == "/guide/?a=b"
    missing = asked("/none")
    assert (missing.status, missing.body) == (404, b"none")
    assert "hms-cache-control" not in missing.headers
    with pytest.raises(RuntimeError, match="--site other"):
        Site("other")


def test_names_of_bundlers_are_hashed_and_names_of_people_are_not():
    for name in ["assets/index-BfD3kz9x.js", "index-BfD3kz9x.js.map", "chunk-3f2a9c1b7d.js"]:
        assert is_hashed(name), name
    for name in ["index.html", "report-20260101.pdf", "jquery-3.7.1.js", "deadbeef.js", "LICENSE"]:
        assert not is_hashed(name), name


def test_component_says_what_it_is_written_with():
    section = sdk_section()
    assert section[:10] == bytes([0, len(section) - 2, 7]) + b"hms-sdk"
    assert section[10:].startswith(b"hms-window (Python) ") and len(section) < 128
