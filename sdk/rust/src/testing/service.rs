//! Services that the test answers.

use http::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::thread;
use tiny_http::{Header, Response, Server};

/// An HTTP service on this machine, whose answers the test gives. It is there until it is dropped.
pub struct Service {
    server: Arc<Server>,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// A request that the window has sent to a [`Service`].
#[derive(Debug, Clone)]
pub struct Call {
    method: String,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What a [`Service`] answers.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Calls that are answered at once by one service.
const THREADS: usize = 4;

impl Service {
    /// A service that answers every call by `answer`.
    ///
    /// # Panics
    /// If no port is free.
    pub fn new(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let server = Server::http("127.0.0.1:0");
        let server = Arc::new(server.unwrap_or_else(|error| panic!("no service: {error}")));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        for _ in 0..THREADS {
            let (server, calls, answer) = (server.clone(), calls.clone(), answer.clone());
            thread::spawn(move || {
                while let Ok(mut request) = server.recv() {
                    let call = Call::of(&mut request);
                    let mut all = calls.lock().unwrap_or_else(|broken| broken.into_inner());
                    all.push(call.clone());
                    drop(all);
                    let reply = answer(&call);
                    // A window may have left meanwhile.
                    let _ = request.respond(reply.into_response());
                }
            });
        }
        Service { server, calls }
    }

    /// Its URL, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.server_addr())
    }

    /// What it was asked so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.calls
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
            .clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for _ in 0..THREADS {
            self.server.unblock();
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({})", self.url())
    }
}

impl Call {
    fn of(request: &mut tiny_http::Request) -> Self {
        let mut headers = HeaderMap::new();
        for header in request.headers() {
            let name = http::HeaderName::from_str(header.field.as_str().as_str());
            let value = http::HeaderValue::from_str(header.value.as_str());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        let mut body = Vec::new();
        // One that breaks off is seen as far as it came.
        let _ = request.as_reader().read_to_end(&mut body);
        Call {
            method: request.method().to_string(),
            target: request.url().to_owned(),
            headers,
            body,
        }
    }

    /// The method, such as `POST`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query, without `?`; empty if there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The first header with this name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, read as JSON.
    ///
    /// # Panics
    /// If it is none, or not in the shape of `T`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&self.body)),
        }
    }
}

impl Reply {
    /// A status without a body.
    pub fn empty(status: u16) -> Self {
        Reply {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A value, as JSON.
    ///
    /// # Panics
    /// If it cannot be JSON.
    #[track_caller]
    pub fn json<T: Serialize + ?Sized>(status: u16, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Reply::bytes(status, "application/json", body),
            Err(error) => panic!("invalid JSON: {error}"),
        }
    }

    /// A text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Reply::bytes(status, "text/plain; charset=utf-8", text.into())
    }

    /// Bytes of this media type.
    pub fn bytes(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut reply = Reply::empty(status).header("content-type", content_type);
        reply.body = body.into();
        reply
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn into_response(self) -> Response<std::io::Cursor<Vec<u8>>> {
        let mut response = Response::from_data(self.body).with_status_code(self.status);
        for (name, value) in self.headers {
            match Header::from_bytes(name.as_bytes(), value.as_bytes()) {
                Ok(header) => response.add_header(header),
                Err(()) => panic!("'{name}: {value}' is not a valid header"),
            }
        }
        response
    }
}
