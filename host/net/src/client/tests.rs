//! The client against services that are played here.

mod given_up;
mod tls;

use super::*;
use crate::pem::Pem;
use hms_core::body;
use http::StatusCode;
use http_body_util::BodyExt;
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
