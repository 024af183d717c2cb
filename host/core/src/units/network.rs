//! Networks of addresses.

use ipnet::IpNet;
use std::net::IpAddr;

/// A network such as `10.0.0.0/8`, or one address.
///
/// # Errors
/// What was expected.
pub fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    match text.parse::<IpNet>() {
        // Bits beyond the prefix mean that either the address or the prefix is mistyped.
        Ok(network) if network.addr() == network.network() => Ok(network),
        Ok(network) => Err(format!(
            "'{text}' has bits set beyond its prefix: write '{}' for the network or '{}' for the address",
            network.trunc(),
            network.addr()
        )),
        Err(_) => Err(format!(
            "'{}' is not an address or a network, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32",
            text.escape_debug()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_with_bits_beyond_its_prefix_is_rejected_with_both_readings() {
        let said = network("10.1.2.3/8").unwrap_err();
        assert!(
            said.contains("'10.0.0.0/8'") && said.contains("'10.1.2.3'"),
            "{said}"
        );
        assert!(network("10.0.0.0/33").is_err() && network("localhost").is_err());
    }
}
