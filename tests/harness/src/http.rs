//! HTTP as the tests speak it.

use bytes::Bytes;
use hms_api::Problem;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Why the body ended before its end.
    pub cut: Option<String>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        self.read()
    }

    /// The body as a type, such as one of the admin API.
    pub fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The code of the problem that this is, the last part of its `type`.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{} {}",
            self.status,
            self.text()
        );
        let problem: Problem = self.read();
        assert_eq!(problem.status, self.status.as_u16());
        let code = problem.kind.strip_prefix("urn:hms:problem:");
        code.unwrap().to_owned()
    }
}

/// Sends a request on a connection of its own and reads the answer to its end.
pub async fn request(
    method: Method,
    url: impl AsRef<str>,
    headers: Vec<(String, String)>,
) -> Answer {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    send(method, url.as_ref(), &headers, Vec::new()).await
}

/// The same with a body.
pub async fn send(method: Method, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let answer = try_request(method, url, headers, body).await;
    answer.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// The same, where there may be no answer.
pub async fn try_request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Answer, String> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    ask(client, method, url, headers, body).await
}

/// A GET by HTTP/2 with prior knowledge, where there may be no answer.
pub async fn try_http2(url: &str) -> Result<Answer, String> {
    try_http2_with(url, &[]).await
}

/// The same with header fields.
pub async fn try_http2_with(url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
    let mut client = Client::builder(TokioExecutor::new());
    let client = client.http2_only(true).build_http();
    ask(client, Method::GET, url, headers, Vec::new()).await
}

/// One kept connection, so that its requests come to the same lane.
pub struct KeepAlive {
    sender: SendRequest<Empty<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl KeepAlive {
    pub async fn open(base: &str) -> KeepAlive {
        let io = TokioIo::new(connect(base).await);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        KeepAlive {
            sender,
            connection: tokio::spawn(connection),
        }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        whole(self.begin(path).await).await
    }

    /// An answer of which only the head was read.
    pub async fn begin(&mut self, path: &str) -> Response<Incoming> {
        self.sender.ready().await.unwrap();
        let request = Request::get(path).header("host", "kept");
        let sent = self
            .sender
            .send_request(request.body(Empty::new()).unwrap());
        sent.await.unwrap()
    }

    /// Waits for the other side to close, which is an error while it owes an answer.
    pub async fn closed(&mut self) -> hyper::Result<()> {
        (&mut self.connection).await.unwrap()
    }
}

async fn ask(
    client: Client<HttpConnector, Full<Bytes>>,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Answer, String> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let response = client
        .request(request)
        .await
        .map_err(|error| format!("{error:?}"))?;
    Ok(whole(response).await)
}

/// Reads an answer to its end.
async fn whole(response: Response<Incoming>) -> Answer {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    let mut cut = None;
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => body.extend(frame.into_data().unwrap_or_default()),
            Err(error) => {
                cut = Some(error.to_string());
                break;
            }
        }
    }
    Answer {
        status: head.status,
        headers: head.headers,
        body,
        cut,
    }
}

/// Sends bytes as they are and reads until the other side closes.
pub async fn raw(base: &str, bytes: &[u8]) -> String {
    let mut stream = connect(base).await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A connection to a base URL such as `http://127.0.0.1:9000`.
pub async fn connect(base: &str) -> TcpStream {
    TcpStream::connect(base.trim_start_matches("http://"))
        .await
        .unwrap()
}

/// A `multipart/form-data` body with one file, as `curl -F` makes it, and its content type.
pub fn multipart(file_name: &str, content_type: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    let boundary = "------------------------d74496d66958873e";
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
         Content-Type: {content_type}\r\n\r\n"
    )
    .into_bytes();
    body.extend(bytes);
    body.extend(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}
