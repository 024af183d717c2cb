//! A component as Spin 4's SDK builds it: WASI 0.3, `spin:key-value@3.0.0`, `spin:variables@3.0.0`
//! and outgoing HTTP. `spin-v2` does the same with the SDK before.

use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;
use spin_sdk::key_value::{Error, Store};
use spin_sdk::variables;

#[http_service]
async fn answer(request: Request) -> impl IntoResponse {
    let argument = request.uri().query().unwrap_or_default().to_owned();
    let outcome = match request.uri().path() {
        "/probe" => probe().await,
        "/each" => each(&argument).await,
        "/open" => Store::open(&argument).await.map(|_| "opened".to_owned()),
        "/keys" => keys(argument.parse().unwrap_or(usize::MAX)).await,
        "/fill" => fill(argument.parse().unwrap_or_default(), "").await,
        "/fill-long" => fill(argument.parse().unwrap_or_default(), &"x".repeat(1000)).await,
        "/send" => return send(&argument).await,
        "/variable" => return format!("{:?}\n", variables::get(&argument).await),
        _ => Ok("none of its paths".to_owned()),
    };
    match outcome {
        Ok(text) => format!("{text}\n"),
        Err(error) => format!("{error:?}\n"),
    }
}

/// What a service answers: its status and body, or the error.
async fn send(url: &str) -> String {
    let answer = match spin_sdk::http::get(url).await {
        Ok(answer) => answer,
        Err(error) => return format!("{error:?}\n"),
    };
    let status = answer.status().as_u16();
    match answer.into_body().bytes().await {
        Ok(body) => format!("{status} {}\n", String::from_utf8_lossy(&body)),
        Err(error) => format!("{error:?}\n"),
    }
}

/// Each thing that a store can do, and what came of it.
async fn probe() -> Result<String, Error> {
    let store = Store::open_default().await?;
    store.set("a", b"1").await?;
    let a = store.get("a").await?;
    let there = store.exists("a").await?;
    store.delete("a").await?;
    store.delete("a").await?;
    let (gone, none) = (store.exists("a").await?, store.get("a").await?);
    store.set("b", b"").await?;
    store.set("c", b"3").await?;
    let keys = keys(usize::MAX).await?;
    Ok(format!("{a:?} {there} {gone} {none:?} {keys}"))
}

/// What comes of each call with this key.
async fn each(key: &str) -> Result<String, Error> {
    let store = Store::open_default().await?;
    let done = |outcome: Result<(), Error>| match outcome {
        Ok(()) => "done".to_owned(),
        Err(Error::Other(text)) => text.split(':').next().unwrap_or_default().to_owned(),
        Err(error) => format!("{error:?}"),
    };
    let set = done(store.set(key, b"1").await);
    let large = done(store.set(key, vec![0; 5 << 20]).await);
    let get = done(store.get(key).await.map(drop));
    let exists = done(store.exists(key).await.map(drop));
    let delete = done(store.delete(key).await);
    Ok(format!("{set} {large} {get} {exists} {delete}"))
}

/// The first keys of the store, and how many there are in all where all are asked for.
async fn keys(most: usize) -> Result<String, Error> {
    let mut listed = Store::open_default().await?.get_keys().await;
    let mut keys = Vec::new();
    while keys.len() < most
        && let Some(key) = listed.next().await
    {
        keys.push(key);
    }
    if most == usize::MAX {
        listed.result().await?;
    }
    Ok(format!("{} {:?}", keys.len(), &keys[..keys.len().min(3)]))
}

async fn fill(count: usize, end: &str) -> Result<String, Error> {
    let store = Store::open_default().await?;
    for number in 0..count {
        store.set(format!("key-{number:06}{end}"), b"v").await?;
    }
    Ok("filled".to_owned())
}
