//! Has the host keep as much as it can, by handles that are held.

use hms_window::{Problem, Response, Store};
use serde_json::Value;
use wasip3::http::types::{ErrorCode, Fields, Request};

/// Rounds of each: of what they would come to, nothing is left where it is charged.
const FIELDS: usize = 9_000;
const EMPTIED: usize = 500;
const REQUESTS: usize = 400;
const ERRORS: usize = 150;
const VALUES: usize = 40;

/// A block of header fields is 64 KiB at most.
const FIELD_BYTES: usize = 60_000;
const PAIRS: usize = 700;
const VALUES_OF_ONE: usize = 1_500;

pub async fn hoard(what: &str) -> Result<Response, Problem> {
    match what {
        // A bucket of 15 MiB of name.
        "names" => drop(Store::open(&"n".repeat(15 << 20))?),
        // Header fields.
        "fields" => {
            let value = vec![b'v'; FIELD_BYTES];
            hold(FIELDS, || {
                let fields = Fields::new();
                fields.append("x", &value).map_err(Problem::internal)?;
                Ok(fields)
            })?;
        }
        // Copies of many small ones, each changed.
        "copies" => {
            let pairs = (0..PAIRS).map(|number| (format!("x-{number}"), b"v".to_vec()));
            let first = Fields::from_list(&pairs.collect::<Vec<_>>()).map_err(Problem::internal)?;
            hold(FIELDS, || {
                let copy = first.clone();
                copy.append("y", b"v").map_err(Problem::internal)?;
                Ok(copy)
            })?;
        }
        // Many values, taken out again.
        "emptied" => {
            let values = vec![b"v".to_vec(); VALUES_OF_ONE];
            hold(EMPTIED, || {
                let fields = Fields::new();
                fields.set("x", &values).map_err(Problem::internal)?;
                fields.delete("x").map_err(Problem::internal)?;
                Ok(fields)
            })?;
        }
        // Requests to long names.
        "requests" => {
            let authority = "a".repeat(1 << 20);
            hold(REQUESTS, || {
                let (writer, trailers) = wasip3::wit_future::new(|| Ok(None));
                let (request, result) = Request::new(Fields::new(), None, trailers, None);
                let set = request.set_authority(Some(&authority));
                set.map_err(|()| Problem::internal("refused"))?;
                Ok((writer, request, result))
            })?;
        }
        // Errors of much text, that nobody asks for.
        "errors" => errors().await?,
        // The values of compare-and-swaps, each within the other.
        "values" => {
            let store = Store::open("hoard")?;
            let mut value = vec![b' '; (4 << 20) - 1];
            value.push(b'1');
            store.set_bytes("large", &value)?;
            drop(value);
            nest(&store, VALUES);
        }
        _ => return Err(Problem::not_found()),
    }
    Ok(Response::text(200, "held\n"))
}

fn hold<T>(times: usize, mut make: impl FnMut() -> Result<T, Problem>) -> Result<(), Problem> {
    let held: Result<Vec<T>, Problem> = (0..times).map(|_| make()).collect();
    held.map(drop)
}

async fn errors() -> Result<(), Problem> {
    let mut held = Vec::new();
    for _ in 0..ERRORS {
        let (writer, trailers) = wasip3::wit_future::new(|| Ok(None));
        let (request, result) = Request::new(Fields::new(), None, trailers, None);
        let (taken, end) = wasip3::wit_future::new(|| Ok(()));
        let body = Request::consume_body(request, end);
        let error = ErrorCode::InternalError(Some("e".repeat(1 << 20)));
        taken
            .write(Err(error))
            .await
            .map_err(|_| Problem::internal("nobody takes it"))?;
        held.push((writer, result, body));
    }
    Ok(())
}

/// Each holds what it has read while the next is at work.
fn nest(store: &Store, left: usize) {
    if left == 0 {
        return;
    }
    let mut once = false;
    let _ = store.update::<Value, _>("large", |_| {
        if !std::mem::replace(&mut once, true) {
            nest(store, left - 1);
        }
        Value::Null
    });
}
