//! The access log.

use super::*;

/// The access lines of this thread, as JSON. All of a `#[tokio::test]` runs on its own thread.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Recording ends when what is returned is dropped. The second dispatch is there because with a
    /// single one `tracing` asks the thread that meets a log statement first whether anybody
    /// listens, and caches its no.
    pub(super) fn record(&self) -> (tracing::subscriber::DefaultGuard, tracing::Dispatch) {
        let spare = tracing::Dispatch::new(tracing_subscriber::fmt().finish());
        let lines = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(move || lines.clone())
            .finish();
        (tracing::subscriber::set_default(subscriber), spare)
    }

    /// The `count`th access line, once it is there.
    pub(super) async fn line(&self, count: usize) -> serde_json::Value {
        let look = async {
            loop {
                let text = String::from_utf8(self.0.lock().clone()).unwrap();
                let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                let mut access =
                    lines.filter(|line: &serde_json::Value| line["target"] == "access");
                if let Some(mut line) = access.nth(count) {
                    return line["fields"].take();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, look)
            .await
            .expect("the line is written in time")
    }
}

#[tokio::test]
async fn each_request_is_one_line_once_its_last_byte_is_out_or_its_client_is_gone() {
    let lines = Lines::default();
    let _recording = lines.record();
    let fixture = Fixture::open().await;
    let token = fixture.bearer(&["payments.read"]);
    let answer = fixture
        .get(
            "/api/v1/payments?secret=1",
            &format!("{token}x-request-id: id-1\r\n"),
        )
        .await;
    let line = lines.line(0).await;
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    for (field, expected) in [
        ("method", "GET".into()),
        ("path", "/api/v1/payments".into()),
        ("route", "payments".into()),
        ("upstream", "payments".into()),
        ("release", 7.into()),
        ("status", 200.into()),
        ("bytes", body.len().into()),
        ("user", "alice".into()),
        ("request_id", "id-1".into()),
        ("error", serde_json::Value::Null),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0 && !line.to_string().contains("secret"));

    fixture.get("/nowhere", "").await;
    let line = lines.line(1).await;
    assert_eq!(
        (&line["status"], &line["error"]),
        (&404.into(), &"no-route".into()),
        "{line}"
    );

    let stream = fixture.begin_answer("first").await;
    drop(stream);
    // The gateway notices when it reads or writes next.
    let _ = fixture.give.send("second".into());
    let line = lines.line(2).await;
    assert_eq!(
        (&line["status"], &line["error"]),
        (&200.into(), &"connection-ended".into()),
        "{line}"
    );
}
