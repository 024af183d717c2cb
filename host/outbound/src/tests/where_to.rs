//! What may be called, and where that leads.

use super::*;
use http::StatusCode;
use http::header::LOCATION;

#[tokio::test]
async fn only_what_is_granted_is_called_and_a_refusal_names_what_would_allow_it() {
    let (world, at) = (World::new(), saying("here").await);
    let port = at.port();
    let mut grant = to(at);
    grant.methods = vec![Method::POST];
    grant.paths = vec!["/v1/charges/**".into()];
    world.grant(&[grant]);
    let uri = format!("http://{at}/v1/charges/7?key=value");
    let answer = world
        .call(request(Method::POST, &uri, body::full("x")))
        .await;
    assert_eq!(whole(answer.unwrap()).await, Ok((200, "here".into())));
    for (method, uri) in [
        (Method::GET, uri.clone()),
        (Method::POST, format!("http://{at}/v1/refunds")),
        (Method::POST, format!("http://{at}/v1/charges%2F7")),
        (Method::POST, format!("https://{at}/v1/charges")),
        (Method::POST, format!("http://localhost:{port}/v1/charges")),
        (Method::POST, "http://127.0.0.1:1/v1/charges".into()),
        (Method::CONNECT, uri.clone()),
    ] {
        let refused = world
            .call(request(method.clone(), &uri, body::empty()))
            .await;
        assert_eq!(refused.err(), Some(CallError::Denied), "{method} {uri}");
    }
    let mut upgrade = request(Method::POST, &uri, body::empty());
    upgrade
        .headers_mut()
        .insert("upgrade", "websocket".parse().unwrap());
    assert_eq!(world.call(upgrade).await.err(), Some(CallError::Denied));
    let userinfo = world
        .get(format!("http://user:secret@{at}/v1/charges"))
        .await;
    assert!(
        matches!(userinfo, Err(CallError::UriInvalid(_))),
        "{userinfo:?}"
    );
    world.assert_refused("denied", 8);
    let log = world.log();
    assert_eq!(log.len(), 9, "{log:#?}");
    let first = format!(
        "no grant allows GET http://{at}/v1/charges/7 (windows/payments.yml:3 is for other methods \
         or paths of it); to allow it, add to 'outbound' in windows/payments.yml: - {{to: \
         \"http://{at}\", methods: [\"GET\"], paths: [\"/v1/charges/7\"], private: \
         [\"127.0.0.1/32\"]}}"
    );
    assert!(log[0].contains(&first), "{}", log[0]);
    assert!(
        !log.join("").contains("secret") && !log.join("").contains("key=value"),
        "{log:#?}"
    );
}

#[tokio::test]
async fn grants_that_change_hold_for_the_next_call() {
    let (world, at) = (World::new(), saying("here").await);
    let uri = format!("http://{at}/");
    assert_eq!(world.get(&uri).await, Err(CallError::Denied));
    world.grant(&[to(at)]);
    assert_eq!(world.get(&uri).await, Ok((200, "here".into())));
    world.grant(&[]);
    assert_eq!(world.get(&uri).await, Err(CallError::Denied));
}

#[tokio::test]
async fn private_addresses_are_refused_unless_granted_and_own_listeners_always() {
    let (world, at) = (World::new(), saying("here").await);
    let named = |host: &str| OutboundGrant {
        host: HostPattern::Exact(host.into()),
        ..to(at)
    };
    world.names.set("inside.example", &["127.0.0.1"]);
    let private = [
        named("127.0.0.1"),
        named("inside.example"),
        named("::ffff:127.0.0.1"),
    ];
    let public = private.clone().map(|grant| OutboundGrant {
        private: Vec::new(),
        ..grant
    });
    let port = at.port();
    let uris = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://inside.example:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
    ];
    world.grant(&public);
    for uri in &uris {
        assert_eq!(
            world.get(uri).await,
            Err(CallError::AddressProhibited),
            "{uri}"
        );
    }
    world.grant(&private);
    for uri in uris.iter().take(2) {
        assert_eq!(world.get(uri).await, Ok((200, "here".into())), "{uri}");
    }
    // A new connection is asked for, because those that are open were allowed.
    world.own.set(vec![at]);
    world.grant(&private.map(|grant| OutboundGrant {
        at_once: Some(9),
        ..grant
    }));
    for uri in &uris {
        assert_eq!(
            world.get(uri).await,
            Err(CallError::AddressProhibited),
            "{uri}"
        );
    }
    world.assert_refused("address", 6);
}

#[tokio::test]
async fn name_that_changes_its_address_is_checked_at_each_connection() {
    let world = World::new();
    let at = raw(|_, mut stream| async move {
        head(&mut stream).await;
        say(
            &mut stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        )
        .await;
    })
    .await;
    // Allowed where it is looked for first, the metadata of a cloud afterwards.
    world
        .names
        .set("rebind.example", &["127.0.0.1", "169.254.169.254"]);
    world.grant(&[OutboundGrant {
        host: HostPattern::Below("example".into()),
        ..to(at)
    }]);
    let uri = format!("http://rebind.example:{}/", at.port());
    assert_eq!(world.get(&uri).await, Ok((200, String::new())));
    for _ in 0..3 {
        assert_eq!(world.get(&uri).await, Err(CallError::AddressProhibited));
    }
    let unknown = format!("http://unknown.example:{}/", at.port());
    assert_eq!(world.get(unknown).await, Err(CallError::DnsError));
}

#[tokio::test]
async fn redirect_is_handed_to_the_guest_and_not_followed() {
    let world = World::new();
    let metadata = "http://169.254.169.254/latest/meta-data/";
    let at = service(move |_| async move {
        let mut answer = Response::new(body::empty());
        *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        answer
            .headers_mut()
            .insert(LOCATION, metadata.parse().unwrap());
        answer
    })
    .await;
    world.grant(&[to(at)]);
    let answer = world.call(get(format!("http://{at}/"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers()[LOCATION], metadata);
    assert_eq!(world.get(metadata).await, Err(CallError::Denied));
}
