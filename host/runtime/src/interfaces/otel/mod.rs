//! `wasi:otel` 0.2.0-rc.2, where the operator has switched it on: what an OpenTelemetry SDK within
//! the guest reports. Its spans go into the record of their request ([`spans`]), its log records
//! into the window's log ([`logs`]), with what [`value`] makes of their values.
//!
//! The interface `metrics` is not there: the host counts requests, times and failures itself, and
//! has no place for numbers of a guest's own.
//!
//! The guest's clock is not used: what begins or ends does so when the guest says it.

mod logs;
mod spans;
mod value;

use crate::instance::{InstanceContext, InstanceState};
use hms_core::headers::TRACESTATE;
use http::HeaderMap;
use wasmtime::component::{HasData, Linker};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/foreign/otel",
        world: "wasi:otel/imports",
        imports: { default: trappable },
        with: { "wasi:clocks": wasmtime_wasi::p2::bindings::clocks },
    });
}

use bindings::wasi::otel::{logs as records, tracing, types};

/// Whether the import of that name is the interface of spans.
pub(crate) fn is_tracing(import: &str) -> bool {
    import == "wasi:otel/tracing@0.2.0-rc.2"
}

/// Where a guest's reports go.
struct Reports<'a>(&'a InstanceContext);

struct HasReports;

impl HasData for HasReports {
    type Data<'a> = Reports<'a>;
}

fn view(instance: &mut InstanceState) -> Reports<'_> {
    Reports(&instance.context)
}

pub(crate) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasReports>(linker, view)?;
    tracing::add_to_linker::<_, HasReports>(linker, view)?;
    records::add_to_linker::<_, HasReports>(linker, view)
}

impl types::Host for Reports<'_> {}

/// The `tracestate` of a request, if it has one.
pub(crate) fn tracestate(headers: &HeaderMap) -> Option<Box<str>> {
    let fields = headers.get_all(TRACESTATE).iter();
    let fields: Vec<&str> = fields.filter_map(|field| field.to_str().ok()).collect();
    (!fields.is_empty()).then(|| fields.join(",").into())
}

/// The id of a span: 16 hexadecimal digits, and not 0.
fn span_id(text: &str) -> Option<u64> {
    let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u64::from_str_radix(text, 16).ok().filter(|_| is_id)?;
    (id != 0).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sixteen_digits_that_are_not_all_zero_are_an_id() {
        assert_eq!(span_id("00f067aa0ba902b7"), Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(span_id("00F067AA0BA902B7"), Some(0x00f0_67aa_0ba9_02b7));
        for none in [
            "",
            "0000000000000000",
            "+0f067aa0ba902b7",
            "00f067aa0ba902b70",
        ] {
            assert_eq!(span_id(none), None, "{none}");
        }
    }

    #[test]
    fn fields_of_one_tracestate_are_one() {
        let mut headers = HeaderMap::new();
        assert_eq!(tracestate(&headers), None);
        headers.append(TRACESTATE, "a=1".parse().unwrap());
        headers.append(TRACESTATE, "b=2,c=3".parse().unwrap());
        assert_eq!(tracestate(&headers).as_deref(), Some("a=1,b=2,c=3"));
    }
}
