//! A component as wasmCloud's SDK builds it: WASI 0.2, `wasi:config@0.2.0-draft`,
//! `wasi:logging@0.1.0-draft` and `wasi:keyvalue@0.2.0-draft`.

use wasmcloud_component::wasi::config::store as config;
use wasmcloud_component::wasi::keyvalue::store;
use wasmcloud_component::wasi::logging::logging::{Level, log};
use wasmcloud_component::http;

struct Component;

http::export!(Component);

impl http::Server for Component {
    fn handle(
        request: http::IncomingRequest,
    ) -> http::Result<http::Response<impl http::OutgoingBody>> {
        let argument = request.uri().query().unwrap_or_default();
        let text = match request.uri().path() {
            "/config" => format!("{:?}\n", config::get(argument)),
            "/config-all" => format!("{:?}\n", config::get_all()),
            "/log" => {
                log(Level::Warn, "wasmcloud", argument);
                "logged\n".to_owned()
            }
            "/keyvalue" => format!("{:?}\n", store::open("").and_then(|it| it.get("none"))),
            _ => "none of its paths\n".to_owned(),
        };
        Ok(http::Response::new(text))
    }
}
