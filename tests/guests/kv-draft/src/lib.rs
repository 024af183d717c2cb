//! A window written for `wasi:keyvalue@0.2.0-draft`, WASI 0.2: what Spin 2 and `wasmtime serve`
//! offer. It does each thing the draft has, and answers what it saw: with the key that follows
//! `?key=`, or with keys of its own.

use wstd::http::{Body, Error, Request, Response};

wit_bindgen::generate!({
    path: "../../../wit/foreign/keyvalue-draft",
    world: "wasi:keyvalue/imports",
    generate_all,
});

use wasi::keyvalue::{atomics, batch, store};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let seen = match request
        .uri()
        .query()
        .and_then(|query| query.strip_prefix("key="))
    {
        Some(key) => each(key),
        None => probe(),
    };
    let text = match seen {
        Ok(text) => text,
        Err(error) => format!("{error:?}"),
    };
    Ok(Response::new(Body::from(text)))
}

fn probe() -> Result<String, store::Error> {
    let bucket = store::open("default")?;
    bucket.set("a", b"1")?;
    let a = bucket.get("a")?;
    bucket.delete("a")?;
    let gone = bucket.exists("a")?;
    let sum = atomics::increment(&bucket, "n", 2)?;
    let many: Vec<_> = (0..1500)
        .map(|i| (format!("k{i:04}"), b"v".to_vec()))
        .collect();
    for pairs in many.chunks(1000) {
        batch::set_many(&bucket, pairs)?;
    }
    let some = batch::get_many(&bucket, &["k0000".into(), "none".into()])?;
    let found = some.iter().filter(|pair| pair.is_some()).count();
    let (mut keys, mut cursor) = (0, None);
    loop {
        let page = bucket.list_keys(cursor)?;
        keys += page.keys.len();
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    batch::delete_many(&bucket, &["k0000".into(), "k0001".into()])?;
    let left = bucket.list_keys(Some(1400))?.keys.len();
    Ok(format!("{a:?} {gone} {sum} {found} {keys} {left}\n"))
}

/// In the bucket without a name, which is the only one that `wasmtime serve` has.
fn each(key: &str) -> Result<String, store::Error> {
    let (bucket, keys) = (store::open("")?, [key.to_owned()]);
    let done = |outcome: Result<(), store::Error>| match outcome {
        Ok(()) => "done".to_owned(),
        Err(store::Error::Other(text)) => text.split(':').next().unwrap_or_default().to_owned(),
        Err(error) => format!("{error:?}"),
    };
    let pairs = [
        ("beside".to_owned(), vec![]),
        (key.to_owned(), b"1".to_vec()),
    ];
    let set = done(bucket.set(key, b"1"));
    let set_many = done(batch::set_many(&bucket, &pairs));
    let increment = done(atomics::increment(&bucket, key, 1).map(drop));
    let get = bucket
        .get(key)?
        .map(|value| String::from_utf8_lossy(&value).into_owned());
    let many = batch::get_many(&bucket, &keys)?.iter().flatten().count();
    let exists = bucket.exists(key)?;
    let listed = bucket.list_keys(None)?.keys;
    let delete = done(bucket.delete(key));
    let delete_many = done(batch::delete_many(&bucket, &keys));
    let left = bucket.exists(key)?;
    Ok(format!(
        "{set} {set_many} {increment} {get:?} {many} {exists} {listed:?} {delete} {delete_many} {left}\n"
    ))
}
