//! A collector in this process, which takes what a host sends by OTLP.

use hms_harness::eventually;
use hms_telemetry::otlp::proto::{KeyValue, LogRecord, LogsRequest, Message, Span, TracesRequest};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it was sent.
#[derive(Clone, Default)]
pub struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    lines: Arc<Mutex<Vec<LogRecord>>>,
}

impl Collector {
    pub async fn start() -> (SocketAddr, Collector) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, collector) = (listener.local_addr().unwrap(), Collector::default());
        let to = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(to.clone().serve(stream));
            }
        });
        (addr, collector)
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if bytes.len() < end + 4 + length {
                continue;
            }
            let body = bytes.drain(..end + 4 + length).skip(end + 4);
            let body: Vec<u8> = body.collect();
            self.take(&head, &body);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    }

    fn take(&self, head: &str, body: &[u8]) {
        if head.starts_with("post /v1/traces") {
            let request = TracesRequest::decode(body).unwrap();
            let scopes = request
                .resource_spans
                .into_iter()
                .flat_map(|it| it.scope_spans);
            let spans = scopes.flat_map(|it| it.spans);
            self.spans.lock().unwrap().extend(spans);
        } else if head.starts_with("post /v1/logs") {
            let request = LogsRequest::decode(body).unwrap();
            let scopes = request
                .resource_logs
                .into_iter()
                .flat_map(|it| it.scope_logs);
            let lines = scopes.flat_map(|it| it.log_records);
            self.lines.lock().unwrap().extend(lines);
        }
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// The spans of the trace in which one has this attribute.
    pub async fn trace(&self, with: &KeyValue) -> Vec<Span> {
        eventually("the trace is there", || async {
            let spans = self.spans();
            let of = spans.iter().find(|span| span.attributes.contains(with))?;
            let all = spans.iter().filter(|span| span.trace_id == of.trace_id);
            Some(all.cloned().collect())
        })
        .await
    }

    /// The first line of the log that is `wanted`.
    pub async fn line(&self, what: &str, wanted: impl Fn(&LogRecord) -> bool) -> LogRecord {
        eventually(what, || async {
            let lines = self.lines.lock().unwrap();
            lines.iter().find(|line| wanted(line)).cloned()
        })
        .await
    }
}
