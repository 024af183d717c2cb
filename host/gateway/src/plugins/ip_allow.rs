//! `ip-allow`: admits only clients of these networks.

use super::{Exchange, Plugin, Setup};
use crate::request::rejection::Rejection;
use crate::routes::manifest::Route;
use hms_core::body::Body;
use hms_core::error::RequestError;
use hms_core::units::network;
use hms_manifest::{Field, Kind, Map};
use http::Response;
use ipnet::IpNet;
use std::net::IpAddr;

/// Networks of one rule.
const MAX_NETWORKS: usize = 256;

const FIELDS: &[Field] = &[Field {
    name: "addresses",
    kind: Kind::Texts(MAX_NETWORKS, "[10.0.0.0/8, \"2001:db8::/32\", 192.0.2.7]"),
    doc: "The allowed addresses and networks (CIDR); all others are refused with 403.",
}];

#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    networks: Vec<IpNet>,
}

impl Plugin for Rule {
    const NAME: &'static str = "ip-allow";
    const DOC: &'static str = "Allows only clients with certain addresses.";
    const FIELDS: &'static [Field] = FIELDS;
    const REQUIRED: &'static [&'static str] = &["addresses"];

    type Shared = ();
    type Notes = ();

    fn shared(_: &Setup<'_>) {}

    fn read(map: &Map<'_>) -> Option<Rule> {
        map.require("addresses")?;
        let networks = map.each("addresses", network)?;
        Some(Rule { networks })
    }

    async fn request(
        &self,
        (): &(),
        _: &Route,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, RequestError> {
        self.admit(exchange.origin.client).map(|()| None)
    }
}

impl Rule {
    /// # Errors
    ///
    /// If the client's address is in none of the networks.
    fn admit(&self, client: IpAddr) -> Result<(), RequestError> {
        let client = client.to_canonical();
        if self
            .networks
            .iter()
            .any(|network| network.contains(&client))
        {
            return Ok(());
        }
        Err(Rejection::AddressRefused.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_in_canonical_form() {
        let rule = Rule {
            networks: ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]
                .map(|text| network(text).unwrap())
                .into(),
        };
        for (client, admitted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(
                rule.admit(client.parse().unwrap()).is_ok(),
                admitted,
                "{client}"
            );
        }
    }
}
