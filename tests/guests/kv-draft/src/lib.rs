//! A window written for `wasi:keyvalue@0.2.0-draft`, WASI 0.2: what Spin 2 and `wasmtime serve` offer. On any path it
//! does each thing the draft has, and answers what it saw.

use wstd::http::{Body, Error, Request, Response};

wit_bindgen::generate!({
    path: "../../../host/runtime/keyvalue/wit-draft",
    world: "wasi:keyvalue/imports",
    generate_all,
});

use wasi::keyvalue::{atomics, batch, store};

#[wstd::http_server]
async fn main(_request: Request<Body>) -> Result<Response<Body>, Error> {
    let text = match probe() {
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
