//! What the operator's file `windows/NAME.yaml` configures and reveals (`wasi:config/store`).

use crate::bindings::configuration::wasi::config::store;
use std::fmt;

/// A value of `config` in this window's `windows/NAME.yaml`, as it is now: a changed file holds at
/// once. `None` where there is none.
///
/// ```no_run
/// # use hms_window::config;
/// let currency = config("currency").unwrap_or_else(|| "EUR".into());
/// ```
pub fn config(name: &str) -> Option<String> {
    match store::get(name) {
        Ok(value) => value,
        Err(store::Error::Upstream(cause) | store::Error::Io(cause)) => {
            eprintln!("the configuration '{name}' cannot be read: {cause}");
            None
        }
    }
}

/// A secret of this window's `windows/NAME.yaml`, as it is now.
///
/// First see whether you need it: with `inject` in the file, the host itself sets a header that has
/// the secret, and this window cannot lose it. For a library that insists on a key, the file says
/// `placeholders: [NAME]`; then this returns the text `hms-secret:NAME`, for which the host puts in
/// the value where a header of a granted call has it. Only with `reveal: [NAME]` this returns the
/// value itself.
///
/// `None` for any other secret, and for one that cannot be read; then the window's log says why.
///
/// ```no_run
/// # use hms_window::{Problem, Request, secret};
/// # fn ask() -> Result<Request, Problem> {
/// let key = secret("card-key").ok_or_else(|| Problem::internal("no card-key is configured"))?;
/// let request = Request::post("https://api.card.example/v1/charges")
///     .with_header("authorization", format!("Bearer {}", key.expose()))?;
/// # Ok(request) }
/// ```
pub fn secret(name: &str) -> Option<Secret> {
    config(name).map(Secret)
}

/// A secret. It does not show itself in a log by accident: its `Debug` is `[secret]`, and it has no
/// `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value, or the text that the host replaces by it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_not_shown_by_debug() {
        let secret = Secret("hunter2".into());
        assert_eq!(
            format!("{secret:?} {:#?}", Some(&secret)),
            "[secret] Some(\n    [secret],\n)"
        );
        assert_eq!(secret.expose(), "hunter2");
    }
}
