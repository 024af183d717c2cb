//! The corpus of requests, each with its source: what is refused with which status, and what is
//! taken. A refusal is problem+json, ends its connection, and nothing that was sent behind it is
//! read as a request.

use super::*;

/// Behind each request; served, it would be a second answer.
const BEHIND: &str = "GET /open/smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

/// The source, the request, the status.
const REFUSED: &[(&str, &str, u16)] = &[
    (
        "RFC 3986 5.2.4, dot segments",
        "GET /open/a/../b HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "CVE-2021-41773, encoded dots",
        "GET /open/%2e%2e/b HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "CVE-2021-41773, half encoded",
        "GET /open/.%2e/b HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "dots with a parameter, Tomcat's ..;",
        "GET /open/..;/b HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "encoded slash",
        "GET /open/a%2fb HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "encoded backslash",
        "GET /open/a%5cb HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "backslash",
        "GET /open/a\\b HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "encoded NUL",
        "GET /open/a%00 HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "encoded line end",
        "GET /open/a%0d%0ab HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "broken percent-encoding",
        "GET /open/a%zz HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "empty segment",
        "GET /open//a HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    ("RFC 9112 3.2, no Host", "GET /open/a HTTP/1.1\r\n\r\n", 400),
    (
        "RFC 9112 3.2, two Hosts",
        "GET /open/a HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 3.2, no host name",
        "GET /open/a HTTP/1.1\r\nhost: a b\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 3.2.2, absolute-form of another host",
        "GET http://other/open/a HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9110 4.2.4, user information",
        "GET http://u@x/open/a HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 3.2.3, CONNECT",
        "CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 3.2.4, asterisk-form of GET",
        "GET * HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9110 9.3.8, TRACE",
        "TRACE /open/a HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 3, two spaces",
        "GET  /open/a HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 3, no version",
        "GET /open/a\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 2.3, version",
        "GET /open/a HTTP/1.2\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 2.3, version in small letters",
        "GET /open/a http/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9110 9.1, method",
        "G(T /open/a HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 3.2, target with a byte beyond ASCII",
        "GET /open/\u{e9} HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 2.2, bare LF",
        "GET /open/a HTTP/1.1\nhost: x\n\n",
        400,
    ),
    (
        "RFC 9112 2.2, bare LF in one line",
        "GET /open/a HTTP/1.1\r\nhost: x\nx: y\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 2.2, bare CR",
        "GET /open/a HTTP/1.1\r\nhost: x\r\nx: a\rb\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 5.1, space before the colon",
        "GET /open/a HTTP/1.1\r\nhost: x\r\nx : 1\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 5.1, space in a name",
        "GET /open/a HTTP/1.1\r\nhost: x\r\nbad name: 1\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 5.2, folded field",
        "GET /open/a HTTP/1.1\r\nhost: x\r\nx: 1\r\n folded\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 2.2, space before the first field",
        "GET /open/a HTTP/1.1\r\n host: x\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 5, no colon",
        "GET /open/a HTTP/1.1\r\nhost: x\r\nnothing\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 5, no name",
        "GET /open/a HTTP/1.1\r\nhost: x\r\n: 1\r\n\r\n",
        400,
    ),
    (
        "RFC 9110 5.5, NUL in a value",
        "GET /open/a HTTP/1.1\r\nhost: x\r\nx: a\0b\r\n\r\n",
        400,
    ),
    (
        "RFC 9110 5.5, control byte in a value",
        "GET /open/a HTTP/1.1\r\nhost: x\r\nx: a\x01b\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 6.1, both lengths",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 6.1, both lengths the other way",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 6.1, another coding",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 6.1, identity",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ntransfer-encoding: identity\r\n\r\n",
        400,
    ),
    (
        "chunked with a tail, as front ends were tricked by",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 6.1, chunked twice",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 6.1, HTTP/1.0 with chunks",
        "POST /open/in HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 6.3, two lengths",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        400,
    ),
    (
        "RFC 9112 6.3, the same length twice",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
        400,
    ),
    (
        "RFC 9112 6.3, a list of lengths",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 1, 1\r\n\r\na",
        400,
    ),
    (
        "RFC 9110 8.6, a length with a sign",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: +1\r\n\r\na",
        400,
    ),
    (
        "RFC 9110 8.6, a hexadecimal length",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 0x1\r\n\r\na",
        400,
    ),
    (
        "RFC 9110 8.6, a length that nothing holds",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\na",
        400,
    ),
    (
        "RFC 9110 8.6, an empty length",
        "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: \r\n\r\n",
        400,
    ),
    (
        "RFC 9110 10.1.1, another expectation",
        "POST /open/in HTTP/1.1\r\nhost: x\r\nexpect: a miracle\r\ncontent-length: 1\r\n\r\na",
        417,
    ),
];

/// The source, the request, what the window saw in its first line.
const TAKEN: &[(&str, &str, &str)] = &[
    (
        "RFC 9112 3.2.2, absolute-form",
        "GET http://x/open/echo HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET http://x/echo open\n",
    ),
    (
        "RFC 3986 6.2.2.2, unreserved characters",
        "GET /open/%7Ea%2D HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET http://x/~a- open\n",
    ),
    (
        "RFC 3986 6.2.2.1, small hexadecimal digits",
        "GET /open/a%c3%a9 HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET http://x/a%C3%A9 open\n",
    ),
    (
        "RFC 9112 2.2, an empty line in front",
        "\r\nGET /open/echo HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET http://x/echo open\n",
    ),
    (
        "RFC 9110 5.5, bytes beyond ASCII in a value",
        "GET /open/echo HTTP/1.1\r\nhost: x\r\naccept-language: de\r\n\r\n",
        "GET http://x/echo open\n",
    ),
    (
        "RFC 9110 5.6.3, white space around a value",
        "GET /open/echo HTTP/1.1\r\nhost:\t x \r\n\r\n",
        "GET http://x/echo open\n",
    ),
    (
        "RFC 9112 9.3, HTTP/1.0",
        "GET /open/echo HTTP/1.0\r\nhost: x\r\n\r\n",
        "GET http://x/echo open\n",
    ),
];

#[tokio::test]
async fn ambiguous_request_is_rejected_and_nothing_behind_it_is_served() {
    let fixture = Fixture::open().await;
    for (source, request, expected) in REFUSED {
        let mut stream = fixture.connect().await;
        let sent = format!("{request}{BEHIND}");
        stream.write_all(sent.as_bytes()).await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert_eq!(status(&head), *expected, "{source}: {head}");
        assert!(
            head.contains("content-type: application/problem+json\r\n"),
            "{source}: {head}"
        );
        assert!(head.contains("x-request-id: "), "{source}: {head}");
    }
}

#[tokio::test]
async fn request_with_two_lengths_is_rejected_and_ends_the_connection() {
    let fixture = Fixture::open().await;
    let both = "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let answer = fixture.raw(&format!("{both}{BEHIND}")).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(status(&answer), 400);
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.contains("RFC 9112 section 6.1"), "{answer}");
}

#[tokio::test]
async fn unambiguous_request_is_accepted_in_canonical_form() {
    let fixture = Fixture::open().await;
    for (source, request, expected) in TAKEN {
        let request = request.replacen("host", "connection: close\r\nhost", 1);
        let answer = fixture.raw(&request).await;
        assert_eq!(status(&answer), 200, "{source}: {answer}");
        assert!(answer.contains(expected), "{source}: {answer}");
    }
}

#[tokio::test]
async fn continue_is_sent_only_where_the_body_is_wanted() {
    let mut fixture = Fixture::open().await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
        )
    };
    // RFC 9110 section 10.1.1: whoever is refused is told so and not asked for the body.
    let mut stream = fixture.connect().await;
    stream
        .write_all(head("/api/v1/payments").as_bytes())
        .await
        .unwrap();
    let refused = read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(status(&refused), 401, "{refused}");
    let mut stream = fixture.connect().await;
    stream.write_all(head("/open/in").as_bytes()).await.unwrap();
    let wanted = read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(status(&wanted), 100, "{wanted}");
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(next(&mut fixture.arrived).await, "hello");
    assert_eq!(status(&read_until(&mut stream, "\r\n\r\n").await), 200);
}

#[tokio::test]
async fn incomplete_head_is_408_after_its_time() {
    let fixture = Fixture::with(|limits| limits.header_timeout = Duration::from_millis(50)).await;
    let answer = fixture.raw("GET /open/echo HTTP/1.1\r\nhost: x\r\n").await;
    assert_eq!(status(&answer), 408, "{answer}");
}

/// Hyper and we move it for each request. Where it had about 15 KB, `memmove` came first in the
/// profile of a request.
#[test]
fn request_state_fits_in_6_kib() {
    fn size<F, A>(_: impl Fn(A) -> F) -> usize {
        std::mem::size_of::<F>()
    }
    type Asked = (
        &'static Gateway,
        Request<Inbound>,
        Origin,
        AtWork,
        TunnelHandover,
    );
    let state = size(|(gateway, request, origin, at_work, slot): Asked| {
        gateway.answer(request, origin, at_work, slot)
    });
    assert!(state <= 6 << 10, "{state} bytes");
}
