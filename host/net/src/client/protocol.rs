//! How a service is spoken to.

use http::uri::Scheme;

/// How a service is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in the clear.
    Http,
    /// TLS, and HTTP/2 or HTTP/1.1, whichever the service prefers (ALPN).
    Https,
    /// HTTP/2 in the clear, with prior knowledge.
    H2c,
}

impl Protocol {
    /// As a service knows it.
    pub fn scheme(self) -> Scheme {
        match self {
            Protocol::Http | Protocol::H2c => Scheme::HTTP,
            Protocol::Https => Scheme::HTTPS,
        }
    }

    /// Whether it may turn out to be HTTP/2.
    pub fn may_be_http2(self) -> bool {
        self != Protocol::Http
    }
}
