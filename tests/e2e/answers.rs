//! Whatever a window answers, in either generation of WASI HTTP, its client has one defined
//! outcome; and words that are not for the public stay in the log.

use hms_harness::http::{connect, send, try_http2};
use hms_harness::{Answer, Host, eventually, guest};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The two generations, by what stands before the path of each test.
const WINDOWS: [&str; 2] = ["/prober/raw", "/flooder"];

async fn host(args: &[&str]) -> Host {
    let (prober, flooder) = (guest("prober").await, guest("flooder").await);
    let windows: [(&str, &[u8]); 2] = [("prober", &prober), ("flooder", &flooder)];
    Host::with_open_windows_and(&windows, args).await
}

/// The same by HTTP/1 and by HTTP/2.
async fn both(host: &Host, path: &str) -> [Answer; 2] {
    let url = format!("{}{path}", host.gateway());
    [host.get(path).await, try_http2(&url).await.unwrap()]
}

#[tokio::test]
async fn each_status_from_a_guest_has_one_outcome() {
    let host = host(&[]).await;
    for window in WINDOWS {
        for status in [
            0, 99, 200, 100, 201, 101, 203, 103, 204, 199, 205, 206, 299, 304, 404, 500, 503, 599,
            600, 999, 1000,
        ] {
            let path = format!("{window}/status?{status}");
            for answer in both(&host, &path).await {
                let seen = (answer.status.as_u16(), answer.text());
                assert!(answer.cut.is_none(), "{path}: {answer:?}");
                assert!(!answer.header("x-request-id").is_empty(), "{path}");
                match status {
                    100..=199 => assert_eq!(answer.problem(), "response-invalid", "{path}"),
                    204 | 205 | 304 => assert_eq!(seen, (status, String::new()), "{path}"),
                    // WASI 0.3 takes no others.
                    600..=999 if window == "/flooder" => assert_eq!(seen.0, status, "{path}"),
                    200..=599 => assert_eq!(seen, (status, "as asked\n".into()), "{path}"),
                    _ => assert_eq!(seen.0, 500, "{path}: the guest is told"),
                }
            }
        }
    }
    for window in ["prober", "flooder"] {
        assert_eq!(host.failures(window, "response-invalid").await, 8);
    }
}

#[tokio::test]
async fn wrong_content_length_from_a_guest_never_reaches_the_client_as_valid() {
    let host = host(&["--instance-wall-time", "5s"]).await;
    for window in WINDOWS {
        for (lengths, whole) in [("7-7", true), ("0-0", true), ("9-7", false), ("5-7", false)] {
            for answer in both(&host, &format!("{window}/length?{lengths}")).await {
                let right = match (whole, answer.status.as_u16()) {
                    (true, status) => status == 200 && answer.cut.is_none(),
                    (false, 502) => true,
                    (false, 200) => answer.cut.is_some(),
                    _ => false,
                };
                assert!(right, "{window} {lengths}: {answer:?}");
            }
        }
        for wrong in ["x-7", "+7-7", "-7"] {
            for answer in both(&host, &format!("{window}/length?{wrong}")).await {
                assert!(
                    answer.status.is_server_error(),
                    "{window} {wrong}: {answer:?}"
                );
            }
        }
        for (name, said) in [
            ("connection", "refused\n"),
            ("transfer-encoding", "refused\n"),
            ("upgrade", "refused\n"),
            ("keep-alive", "refused\n"),
            ("x", "taken\n"),
        ] {
            for answer in both(&host, &format!("{window}/field?{name}")).await {
                assert_eq!(answer.text(), said, "{window} {name}");
                assert_eq!(answer.header("x").is_empty(), name != "x");
            }
        }
    }
}

/// What comes back for a chunked request with these trailers, on a connection of its own.
async fn with_trailers(host: &Host, path: &str, trailers: &str) -> String {
    let mut stream = connect(host.gateway()).await;
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    let body = format!("transfer-encoding: chunked\r\n\r\n2\r\nin\r\n0\r\n{trailers}\r\n");
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn request_trailers_reach_the_window_and_oversized_ones_are_not_its_fault() {
    let host = host(&[]).await;
    for window in WINDOWS {
        let path = format!("{window}/trailers");
        let sent = "x-sum: 42\r\nx-hms-user: root\r\nauthorization: Bearer x\r\n";
        let seen = with_trailers(&host, &path, sent).await;
        assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
        assert!(seen.contains("x-sum: 42\n"), "{seen}");
        assert!(!seen.contains("root") && !seen.contains("Bearer"), "{seen}");
        let none = with_trailers(&host, &path, "").await;
        assert!(none.starts_with("HTTP/1.1 200"), "{none}");
    }
    for name in ["prober", "flooder"] {
        let set = host
            .cli("limits", &[name, "--request-header", "1KiB"])
            .await;
        assert!(set.status.success(), "{set:?}");
    }
    // More than trip a window whose fault it is.
    for _ in 0..12 {
        for window in WINDOWS {
            let long = format!("x-long: {}\r\n", "v".repeat(2000));
            let path = format!("{window}/trailers");
            let seen = with_trailers(&host, &path, &long).await;
            // WASI 0.2 has no way to fail a request for that: the guest sees none.
            let told = seen.starts_with("HTTP/1.1 431") && seen.contains("trailers-too-large");
            assert!(told || window == "/flooder", "{seen}");
            assert!(!seen.contains("vvvv"), "{seen}");
        }
    }
    for window in WINDOWS {
        let seen = with_trailers(&host, &format!("{window}/trailers"), "x-sum: 42\r\n").await;
        assert!(seen.contains("x-sum: 42\n"), "{seen}");
    }
}

#[tokio::test]
async fn wasi_0_2_guest_can_write_900_kib_before_it_answers() {
    let host = host(&[]).await;
    let answer = host.get("/flooder/early-body").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.body.len(), 900 << 10);
    // One of little memory has room for less, and is told so before it writes.
    let set = host.cli("limits", &["flooder", "--memory", "8MiB"]).await;
    assert!(set.status.success(), "{set:?}");
    let told = host.get("/flooder/early-body").await;
    assert_eq!(
        (told.status.as_u16(), told.text().as_str()),
        (500, "room for 524288 bytes\n")
    );
}

#[tokio::test]
async fn guest_failure_text_is_in_the_logs_and_not_in_the_answer() {
    let host = host(&[]).await;
    let url = format!("{}/prober/no-response", host.gateway());
    let answer = send(
        Method::GET,
        &url,
        &[("x-request-id", "the-one")],
        Vec::new(),
    )
    .await;
    assert_eq!(answer.problem(), "no-response");
    assert!(!answer.text().contains("as asked"), "{}", answer.text());
    assert_eq!(
        answer.json()["detail"],
        "the instance ended without a response"
    );
    eventually("the access log has it with the request id", || async {
        let log = host.whole_log().await;
        let mut lines = log.lines();
        lines
            .find(|line| line.contains("the-one") && line.contains("no answer, as asked"))
            .map(|_| ())
    })
    .await;
    let own = host.cli("logs", &["prober"]).await;
    assert!(
        String::from_utf8_lossy(&own.stdout).contains("no answer, as asked"),
        "{own:?}"
    );
}
