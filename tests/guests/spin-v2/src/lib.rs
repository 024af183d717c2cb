//! A component as the SDK of Spin 2 and 3 builds it: WASI 0.2 and `fermyon:spin@2.0.0`. It does
//! what `spin-v3` does.

use spin_sdk::http::{Method, Request, Response};
use spin_sdk::http_component;
use spin_sdk::key_value::{Error, Store};
use spin_sdk::variables;

#[http_component]
async fn answer(request: Request) -> Response {
    let argument = request.query();
    let outcome = match request.path() {
        "/probe" => probe(),
        "/each" => each(argument),
        "/open" => Store::open(argument).map(|_| "opened".to_owned()),
        "/keys" => keys(),
        "/fill" => fill(argument.parse().unwrap_or_default(), ""),
        "/fill-long" => fill(argument.parse().unwrap_or_default(), &"x".repeat(1000)),
        "/send" => return Response::new(200, send(argument).await),
        "/variable" => return Response::new(200, format!("{:?}\n", variables::get(argument))),
        _ => Ok("none of its paths".to_owned()),
    };
    let text = match outcome {
        Ok(text) => format!("{text}\n"),
        Err(error) => format!("{error:?}\n"),
    };
    Response::new(200, text)
}

/// What a service answers: its status and body, or the error.
async fn send(url: &str) -> String {
    let request = Request::new(Method::Get, url);
    match spin_sdk::http::send::<_, Response>(request).await {
        Ok(answer) => {
            let body = String::from_utf8_lossy(answer.body());
            format!("{} {body}\n", answer.status())
        }
        Err(error) => format!("{error:?}\n"),
    }
}

/// Each thing that a store can do, and what came of it.
fn probe() -> Result<String, Error> {
    let store = Store::open_default()?;
    store.set("a", b"1")?;
    let a = store.get("a")?;
    let there = store.exists("a")?;
    store.delete("a")?;
    store.delete("a")?;
    let (gone, none) = (store.exists("a")?, store.get("a")?);
    store.set("b", b"")?;
    store.set("c", b"3")?;
    let keys = keys()?;
    Ok(format!("{a:?} {there} {gone} {none:?} {keys}"))
}

/// What comes of each call with this key.
fn each(key: &str) -> Result<String, Error> {
    let store = Store::open_default()?;
    let done = |outcome: Result<(), Error>| match outcome {
        Ok(()) => "done".to_owned(),
        Err(Error::Other(text)) => text.split(':').next().unwrap_or_default().to_owned(),
        Err(error) => format!("{error:?}"),
    };
    let set = done(store.set(key, b"1"));
    let large = done(store.set(key, &vec![0; 5 << 20]));
    let get = done(store.get(key).map(drop));
    let exists = done(store.exists(key).map(drop));
    let delete = done(store.delete(key));
    Ok(format!("{set} {large} {get} {exists} {delete}"))
}

fn keys() -> Result<String, Error> {
    let keys = Store::open_default()?.get_keys()?;
    Ok(format!("{} {:?}", keys.len(), &keys[..keys.len().min(3)]))
}

fn fill(count: usize, end: &str) -> Result<String, Error> {
    let store = Store::open_default()?;
    for number in 0..count {
        store.set(&format!("key-{number:06}{end}"), b"v")?;
    }
    Ok("filled".to_owned())
}
