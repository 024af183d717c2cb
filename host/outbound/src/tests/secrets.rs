//! The value of a secret is in what the service reads, and nowhere else.

use super::*;
use hms_grants::Inject;
use hms_grants::outbound::TemplatePart;
use std::io::Write;

const VALUE: &str = "sk_live_9f4b2";

/// All that is logged by this thread, at every level.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The second dispatch is there because with a single one `tracing` asks the thread that meets
    /// a log statement first whether anybody listens, and caches its no.
    pub(super) fn record(&self) -> (tracing::subscriber::DefaultGuard, tracing::Dispatch) {
        let spare = tracing::Dispatch::new(tracing_subscriber::fmt().finish());
        let lines = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || lines.clone())
            .finish();
        (tracing::subscriber::set_default(subscriber), spare)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }

    /// The lines of the log of calls.
    fn egress(&self) -> Vec<serde_json::Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let egress = lines.filter(|line: &serde_json::Value| line["target"] == "egress");
        egress.map(|mut line| line["fields"].take()).collect()
    }
}

/// One that puts the secret `card-key` into a header, and in place of its placeholder.
pub(super) fn granted(at: SocketAddr) -> OutboundGrant {
    let header = http::header::AUTHORIZATION;
    let parts = vec![
        TemplatePart::Text("Bearer ".into()),
        TemplatePart::Secret("card-key".into()),
    ];
    OutboundGrant {
        inject: vec![Inject { header, parts }],
        placeholders: vec!["card-key".into()],
        ..to(at)
    }
}

#[tokio::test]
async fn secret_is_in_no_log_metric_or_error() {
    let lines = Lines::default();
    let _recording = lines.record();
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let at = service(move |request| {
        kept.lock().push(request.headers().clone());
        async { Response::new(body::full("ok")) }
    })
    .await;
    let closed = "127.0.0.1:1".parse().unwrap();
    let secrets = [("card-key", VALUE), ("unused", "sk_other_77")];
    world.grant_with(&[granted(at), granted(closed)], &secrets);
    let mut errors = Vec::new();
    for uri in [
        format!("http://{at}/v1"),
        "http://127.0.0.1:1/".into(),
        "http://a.example/".into(),
    ] {
        let mut sent = get(&uri);
        sent.headers_mut()
            .insert("x-api-key", "hms-secret:card-key".parse().unwrap());
        if let Err(error) = world.call(sent).await {
            errors.push(format!("{error} {error:?}"));
        }
    }
    world.grant_with(&[granted(at)], &[("card-key", "sk_live_9f4b2\n")]);
    errors.extend(
        world
            .get(format!("http://{at}/"))
            .await
            .err()
            .map(|error| format!("{error:?}")),
    );
    assert_eq!(errors.len(), 3);
    let headers = seen.lock().remove(0);
    assert_eq!(headers["authorization"], format!("Bearer {VALUE}").as_str());
    assert_eq!(headers["x-api-key"], VALUE);
    let grants = format!("{:?}", world.grants);
    for all in [
        lines.text(),
        world.log().join("\n"),
        world.metrics(),
        errors.join("\n"),
        grants,
    ] {
        assert!(!all.is_empty());
        for value in [VALUE, "sk_other", "9f4b2"] {
            assert!(!all.contains(value), "{all}");
        }
    }
}

#[tokio::test]
async fn refusal_of_a_service_whose_text_nobody_reads_counts_as_one() {
    let refuse = |_| async {
        let response = Response::builder().status(503);
        response.body(body::full("no")).unwrap()
    };
    let (world, at) = (World::new(), service(refuse).await);
    world.grant_with(&[granted(at)], &[("card-key", VALUE)]);
    drop(world.call(get(format!("http://{at}/"))).await.unwrap());
    let row = "class=\"5xx\"} 1";
    assert!(world.metrics().contains(row), "{}", world.metrics());
}

#[tokio::test]
async fn call_is_one_log_line_once_its_answer_has_ended() {
    let lines = Lines::default();
    let _recording = lines.record();
    let (world, at) = (World::new(), saying("here").await);
    world.grant_with(&[granted(at)], &[("card-key", VALUE)]);
    let post = request(
        Method::POST,
        format!("http://{at}/v1/charges?q=1"),
        body::full("body"),
    );
    let answer = world.call(post).await.unwrap();
    assert!(lines.egress().is_empty(), "before its end");
    assert_eq!(whole(answer).await, Ok((200, "here".into())));
    let line = lines.egress().remove(0);
    let origin = format!("http://{at}");
    for (field, expected) in [
        ("request_id", serde_json::Value::from("req-1")),
        ("window", "payments".into()),
        ("release", 7.into()),
        ("method", "POST".into()),
        ("origin", origin.as_str().into()),
        ("path", "/v1/charges".into()),
        ("status", 200.into()),
        ("bytes_out", 4.into()),
        ("bytes_in", 4.into()),
        ("tries", 1.into()),
        ("grant", "windows/payments.yml:3".into()),
        ("secrets", "card-key".into()),
        ("error", serde_json::Value::Null),
    ] {
        assert_eq!(line[field], expected, "{field}: {line}");
    }
    assert!(line["duration_ms"].as_f64().unwrap() >= 0.0);

    drop(world.call(get(format!("http://{at}/"))).await.unwrap());
    assert_eq!(
        world
            .get(format!("http://{at}/a%20b/{}", "x".repeat(9000)))
            .await,
        Ok((200, "here".into()))
    );
    assert_eq!(world.get("http://a.example/").await, Err(CallError::Denied));
    let lines = lines.egress();
    assert_eq!(lines[1]["error"], "given-up");
    assert_eq!(lines[2]["path"].as_str().unwrap().len(), 1024);
    assert_eq!(lines[3]["error"], "request-denied");
    assert_eq!(lines[3]["origin"], "http://a.example");
    assert_eq!(lines[3]["grant"], serde_json::Value::Null);
    let metrics = world.metrics();
    for (class, count) in [("2xx", 2), ("given-up", 1)] {
        let row = format!(
            "calls_total{{window=\"payments\",origin=\"{origin}\",class=\"{class}\"}} {count}"
        );
        assert!(metrics.contains(&row), "{row}\n{metrics}");
    }
    // What a guest writes is no label.
    assert!(
        metrics.contains("origin=\"-\",class=\"request-denied\"") && !metrics.contains("a.example")
    );
}

#[tokio::test]
async fn secret_in_a_path_or_a_host_is_in_no_log() {
    let lines = Lines::default();
    // At the level of a host that serves: at `trace`, the libraries write what they read.
    let subscriber = tracing_subscriber::fmt().json().with_writer({
        let lines = lines.clone();
        move || lines.clone()
    });
    let _spare = tracing::Dispatch::new(tracing_subscriber::fmt().finish());
    let _recording = tracing::subscriber::set_default(subscriber.finish());
    let (world, at) = (World::new(), saying("here").await);
    let grant = OutboundGrant {
        paths: vec!["/*/sendMessage".into()],
        ..granted(at)
    };
    let host = OutboundGrant {
        host: HostPattern::Below("card.example".into()),
        ..granted(at)
    };
    world.grant_with(&[grant, host], &[("card-key", VALUE), ("other", "7:AB")]);
    let front = "x".repeat(1020);
    let port = at.port();
    for uri in [
        format!("http://{at}/bot{VALUE}/sendMessage"),
        format!("http://{at}/bot7%3aAB/sendMessage"),
        format!("http://{at}/{front}{VALUE}/sendMessage"),
        format!("http://{at}/bot{VALUE}/refused"),
        format!("http://{VALUE}.example/"),
        format!("http://{VALUE}.card.example:{port}/"),
    ] {
        let _ = world.get(uri).await;
    }
    let (egress, log) = (lines.egress(), world.log().join("\n"));
    let shown = |at: usize| egress[at]["path"].as_str().unwrap();
    assert_eq!([shown(0), shown(1)], ["/bot***/sendMessage"; 2]);
    assert_eq!(shown(3), "/bot***/refused");
    assert_eq!(egress[4]["origin"], "http://***.example");
    assert_eq!(egress.len(), 6);
    assert!(log.contains("/bot***/refused"), "{log}");
    for all in [lines.text(), log] {
        for part in [VALUE, "sk_l", "7:AB", "7%3aAB"] {
            assert!(!all.contains(part), "{part}: {all}");
        }
    }
}
