//! Where a request leads: to another window, by its internal name, or to a service of the network.

use hms_core::outgoing::CallError;
use hms_core::window_name::WindowName;
use http::Uri;
use http::uri::Scheme;

/// As routes name windows.
const PREFIX: &str = "hms-svc-";

/// As Spin names components of one application.
const SPIN: &str = ".spin.internal";

/// Where a request leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    Window(WindowName),
    Service,
}

impl Destination {
    /// Where `uri` leads. Names of windows never get to the DNS.
    ///
    /// # Errors
    /// [`CallError::UriInvalid`] for what looks like the name of a window but is not one.
    pub(super) fn of(uri: &Uri) -> Result<Destination, CallError> {
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let Some(name) = host.strip_prefix(PREFIX).or(host.strip_suffix(SPIN)) else {
            return Ok(Destination::Service);
        };
        let Ok(name) = name.parse() else {
            return Err(CallError::UriInvalid("its host names no window"));
        };
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(CallError::UriInvalid(
                "user information before the host is not accepted",
            ));
        }
        match uri.scheme() == Some(&Scheme::HTTP) {
            true => Ok(Destination::Window(name)),
            false => Err(CallError::UriInvalid("windows are called with http://")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_their_internal_names_and_no_other() {
        let of = |uri: &str| Destination::of(&uri.parse().unwrap());
        let docs = Ok(Destination::Window("docs".parse().unwrap()));
        for uri in [
            "http://hms-svc-docs/x",
            "http://HMS-SVC-docs:8080/",
            "http://docs.spin.internal/",
            "http://hms-svc-docs./",
        ] {
            assert_eq!(of(uri), docs, "{uri}");
        }
        for uri in [
            "http://hms-svc/",
            "https://api.card.example/",
            "http://spin.internal/",
            "http://hms-svcdocs/",
        ] {
            assert_eq!(of(uri), Ok(Destination::Service), "{uri}");
        }
        for uri in [
            "https://hms-svc-docs/",
            "http://hms-svc-/",
            "http://hms-svc-do.cs/",
            "http://a.docs.spin.internal/",
            "http://.spin.internal/",
            "http://a@hms-svc-docs/",
            "http://a:b@docs.spin.internal/",
        ] {
            assert!(matches!(of(uri), Err(CallError::UriInvalid(_))), "{uri}");
        }
    }
}
