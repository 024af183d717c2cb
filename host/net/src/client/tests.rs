//! The client against services that are played here.

mod given_up;
mod tls;

use super::*;
use crate::pem::Pem;
use futures_util::future::BoxFuture;
use hms_core::body;
use http::StatusCode;
use http_body_util::BodyExt;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(10);

fn settings() -> ClientSettings {
    ClientSettings::new(PATIENCE, Screen::open(), Roots::of_system())
}

fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(body::empty()).unwrap()
}

#[tokio::test]
async fn refused_address_is_told_from_a_failed_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (here, own) = (listener.local_addr().unwrap(), OwnListeners::default());
    let client = HttpClient::new(ClientSettings {
        screen: Screen::public_and(&["127.0.0.0/8".parse().unwrap()]).without(&own),
        ..settings()
    });
    own.set(vec![here]);
    for (protocol, scheme) in [
        (Protocol::Http, "http"),
        (Protocol::Https, "https"),
        (Protocol::H2c, "http"),
    ] {
        let asked = async |host: String| {
            let request = get(&format!("{scheme}://{host}/"));
            client.ask(protocol, false, request).await.err().unwrap()
        };
        let error = asked(format!("{here}")).await;
        let expected = SendError::NotAllowed(NotAllowed::OwnListener(here));
        assert_eq!(error.to_string(), expected.to_string(), "{protocol:?}");
        let error = asked("10.0.0.1".into()).await;
        let reason = "10.0.0.1 is not an address of the public internet";
        assert!(matches!(error, SendError::NotAllowed(_)), "{error:?}");
        assert_eq!(error.to_string(), reason, "{protocol:?}");
        let error = asked("127.0.0.1:1".into()).await;
        assert!(matches!(error, SendError::Connect(_)), "{error:?}");
    }
}

#[tokio::test]
async fn connections_are_bounded_by_every_protocol_and_also_while_they_are_made() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for (protocol, scheme) in [
        (Protocol::Http, "http"),
        (Protocol::Https, "https"),
        (Protocol::H2c, "http"),
    ] {
        let connections = Arc::<Connections>::default();
        let clients = [0, 1].map(|_| {
            HttpClient::new(ClientSettings {
                connections: Some(connections.clone()),
                ..settings()
            })
        });
        connections.set_most(1);
        let [first, second] = clients;
        let uri = format!("{scheme}://127.0.0.1:{port}/");
        let hangs = get(&uri);
        let hangs = tokio::spawn(async move { first.ask(protocol, false, hangs).await.err() });
        let (_stream, _) = listener.accept().await.unwrap();
        assert!(connections.are_full());
        let full = second.ask(protocol, false, get(&uri)).await.err();
        assert!(
            matches!(full, Some(SendError::TooManyConnections { of_all: false })),
            "{full:?}"
        );
        // Nobody waits for it any more.
        hangs.abort();
        let ended = async {
            while connections.open() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let ended = tokio::time::timeout(PATIENCE / 2, ended).await;
        assert!(ended.is_ok(), "{protocol:?}");
    }
}

/// A name server that never answers.
struct Silent;

impl Resolve for Silent {
    fn resolve(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_nobody_resolves_take_a_bounded_number_of_look_ups() {
    let look_ups = OfAll::default();
    let clients: Vec<_> = (0..17)
        .map(|_| {
            let connections = Arc::new(Connections::among(look_ups.clone()));
            connections.set_most(100);
            HttpClient::new(ClientSettings {
                connections: Some(connections),
                resolver: Some(Arc::new(Silent)),
                ..settings()
            })
        })
        .collect();
    let ask = |client: &HttpClient, name: u32| {
        let (client, request) = (client.clone(), get(&format!("http://{name}.example/")));
        tokio::spawn(async move { client.ask(Protocol::Http, false, request).await.err() })
    };
    // Eight of each of sixteen windows; the ninth of one is refused, and any of the last window.
    for client in &clients[..16] {
        for name in 0..8 {
            ask(client, name);
        }
    }
    tokio::task::yield_now().await;
    for client in [&clients[0], &clients[16]] {
        let refused = ask(client, 9).await.unwrap();
        assert!(
            matches!(refused, Some(SendError::TooManyConnections { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn failed_connections_and_those_of_a_dropped_client_count_no_more() {
    let connections = Arc::<Connections>::default();
    connections.set_most(1);
    let service = given_up::Service::start().await;
    for _ in 0..2 {
        let client = HttpClient::new(ClientSettings {
            connections: Some(connections.clone()),
            ..settings()
        });
        let refused = client
            .ask(Protocol::Http, false, get("http://127.0.0.1:1/"))
            .await;
        assert!(matches!(refused, Err(SendError::Connect(_))));
        let uri = format!("http://{}/", service.addr);
        // The second time it waits for the first client's connection to end.
        let (answer, stream) = client.ask(Protocol::H2c, false, get(&uri)).await.unwrap();
        drop((answer, stream));
        assert_eq!(connections.open(), 1);
    }
}
