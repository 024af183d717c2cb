//! Windows that call out: other windows, and services. Over a registry in this process, because
//! what a window is granted is set here, and a service is played by the test.

mod services;
mod windows;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hms_core::body::{self, Body, BodyError};
use hms_core::call::{WindowCall, Windows};
use hms_core::outgoing::Outgoing;
use hms_grants::outbound::{HostPattern, OutboundGrant};
use hms_grants::{AllGrants, CallGrant, Grants, WindowGrants};
use hms_harness::eventually;
use hms_runtime::Compiler;
use hms_windows::{DeployOptions, LimitsChange, Registry, WindowsConfig};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// The registry, and what its windows are granted.
struct Fixture {
    registry: Arc<Registry>,
    grants: Arc<AllGrants>,
    _data: TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    trailers: HeaderMap,
    body: Bytes,
    broken: bool,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

fn calls(windows: &[&str]) -> Grants {
    let call = |(line, window): (usize, &&str)| CallGrant {
        window: window.parse().unwrap(),
        as_self: false,
        line,
    };
    Grants {
        calls: windows.iter().enumerate().map(call).collect(),
        ..Grants::default()
    }
}

fn outbound() -> Grants {
    Grants {
        outbound: vec![OutboundGrant {
            line: 1,
            scheme: http::uri::Scheme::HTTPS,
            host: HostPattern::Exact("api.card.example".into()),
            port: 443,
            methods: Vec::new(),
            paths: Vec::new(),
            inject: Vec::new(),
            placeholders: Vec::new(),
            timeout: None,
            at_once: None,
            private: Vec::new(),
            ca: None,
            client_cert: None,
        }],
        ..Grants::default()
    }
}

impl Fixture {
    /// These windows, by name and guest, with a pool of so many instances.
    async fn new(windows: &[(&str, &str)], instances: u32) -> Fixture {
        Fixture::with(windows, instances, None).await
    }

    async fn with(
        windows: &[(&str, &str)],
        instances: u32,
        outgoing: Option<Arc<dyn Outgoing>>,
    ) -> Fixture {
        let data = tempfile::tempdir().unwrap();
        let mut config = WindowsConfig::new(data.path().to_owned());
        config.engine.instances = instances;
        config.outgoing = outgoing;
        let grants = config.grants.clone();
        let registry = Registry::open(config, Compiler::in_process()).unwrap();
        for (name, component) in windows {
            let wasm = hms_harness::guests::path(component).await;
            let name = name.parse().unwrap();
            // Boxed: the compiler gives up on the layout of what it would else be a part of.
            let deployed: BoxFuture<'_, _> =
                Box::pin(registry.deploy_file(&name, &wasm, DeployOptions::default()));
            assert!(deployed.await.is_ok(), "{name} is not deployed");
        }
        Fixture {
            registry,
            grants,
            _data: data,
        }
    }

    fn grant(&self, window: &str, grants: Grants) {
        let grants = WindowGrants {
            grants,
            ..WindowGrants::none(window, "windows".as_ref())
        };
        self.grants.window(window).store(grants);
    }

    async fn limit(&self, window: &str, limits: Value) {
        let change: LimitsChange = serde_json::from_value(limits).unwrap();
        let window = window.parse().unwrap();
        let set = self.registry.set_limits(&window, &change);
        set.await.unwrap();
    }

    /// What `window` answers to a request that is stamped for `user` as the gateway does.
    async fn ask_as(&self, user: &str, window: &str, path: &str, body: Body) -> Answer {
        let request = Request::post(format!("http://citizens.example{path}"))
            .header("x-hms-user", user)
            .header("x-hms-scopes", "a.read a.write")
            .header("x-request-id", format!("of-{user}"))
            .header(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
            .header("x-forwarded-for", "192.0.2.7")
            .header("authorization", "Bearer citizen")
            .header("cookie", "session=citizen")
            .body(body)
            .unwrap();
        let answer = self.registry.call(window, WindowCall::of_client(request));
        let response = match answer.await.outcome {
            Ok(response) => response,
            Err(error) => error.response(None),
        };
        let (head, mut body) = response.into_parts();
        let (mut read, mut trailers, mut broken) = (Vec::new(), HeaderMap::new(), false);
        while let Some(frame) = body.frame().await {
            match frame.map(|frame| frame.into_data().map_err(|frame| frame.into_trailers())) {
                Ok(Ok(data)) => read.extend_from_slice(&data),
                Ok(Err(last)) => trailers = last.unwrap(),
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        Answer {
            status: head.status,
            headers: head.headers,
            trailers,
            body: read.into(),
            broken,
        }
    }

    async fn ask(&self, window: &str, path: &str) -> Answer {
        self.ask_as("alice", window, path, body::empty()).await
    }

    fn failures(&self, window: &str) -> std::collections::BTreeMap<hms_api::Word, u64> {
        let (status, _) = self.registry.status(&window.parse().unwrap()).unwrap();
        status.failures
    }

    fn log(&self, window: &str) -> String {
        let lines = self.registry.log(&window.parse().unwrap()).unwrap();
        serde_json::to_string(&lines).unwrap()
    }

    /// Waits until no request is at work at `window`.
    async fn rests(&self, window: &str) {
        eventually("the window rests", || async {
            let (status, _) = self.registry.status(&window.parse().unwrap()).unwrap();
            (status.leases == 0).then_some(())
        })
        .await;
    }

    fn count(&self, from: &str, to: &str, outcome: &str) -> u64 {
        let all = self.registry.calls_between_windows().into_iter();
        let of = all.filter(|(caller, callee, how, _)| {
            (&**caller, callee.as_str(), how.name()) == (from, to, outcome)
        });
        of.map(|(_, _, _, count)| count).sum()
    }
}
