//! The window {{name}}: it takes orders, tells of them by events, and counts what it hears of.
//!
//!     POST /{{name}}   {"item", "count"}  ->  201 {"id"}, and an event {{name}}.ordered.v1
//!     GET  /{{name}}   {"ITEM": count, …}
//!     POST /events     where the host delivers: see windows/{{name}}.yaml

use hms_window::{Event, Method, Problem, Request, Response, Store, new_id, transaction, window};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The type of the event. Its last part is the version of its data.
const ORDERED: &str = "{{name}}.ordered.v1";

#[derive(Serialize, Deserialize)]
struct Order {
    item: String,
    count: u32,
}

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        (&Method::POST, ["{{name}}"]) => order(&request).await,
        (&Method::GET, ["{{name}}"]) => counts(),
        // No route leads here: only the host reaches it.
        (&Method::POST, ["events"]) => received(&request).await,
        (_, ["{{name}}"]) => Err(Problem::method_not_allowed("GET, HEAD, POST")),
        (_, ["events"]) => Err(Problem::method_not_allowed("POST")),
        _ => Err(Problem::not_found()),
    }
}

/// The order and its event are written together: there is never one without the other.
async fn order(request: &Request) -> Result<Response, Problem> {
    let order: Order = request.json().await?;
    let orders = Store::open("orders")?;
    let id = new_id();
    transaction(|tx| {
        tx.set(&orders, &id, &order)?;
        tx.emit(Event::new(ORDERED, &order)?.subject(&*id))
    })?;
    Ok(Response::json(201, &json!({ "id": id })))
}

/// An event comes at least once. `once` makes its effect happen once.
async fn received(request: &Request) -> Result<Response, Problem> {
    let event = request.event().await?;
    let order: Order = event.json()?;
    if order.item.is_empty() {
        // Would never succeed: a person has to look at it.
        return Err(Problem::reject("an order of nothing"));
    }
    let counts = Store::open("counts")?;
    transaction(|tx| {
        tx.once(&event)?;
        tx.increment(&counts, &order.item, i64::from(order.count));
        Ok(())
    })?;
    Ok(Response::empty(204))
}

fn counts() -> Result<Response, Problem> {
    let counts = Store::open("counts")?;
    let page = counts.keys(None)?;
    let values: Vec<Option<Value>> = counts.get_many(&page.keys)?;
    let pairs = page.keys.into_iter().zip(values.into_iter().flatten());
    Ok(Response::json(200, &pairs.collect::<Map<String, Value>>()))
}
