//! The claims of a route. Of two routes that match the same request, the more specific one gets it.
//! Two with the same claim are a fault, because neither is more specific.

use super::{HostPattern, Route};
use http::Method;
use std::fmt;

/// A combination of host, shape of path and method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    host: Option<HostPattern>,
    /// Without the names in `{name}`.
    shape: String,
    method: Option<Method>,
}

impl Route {
    /// One for each combination of its hosts and methods.
    pub fn claims(&self) -> Vec<Claim> {
        let hosts: Vec<Option<HostPattern>> = any_or(&self.hosts);
        let methods: Vec<Option<Method>> = any_or(&self.methods);
        let mut claims = Vec::with_capacity(hosts.len() * methods.len());
        for host in &hosts {
            for method in &methods {
                claims.push(Claim {
                    host: host.clone(),
                    shape: self.uri.shape(),
                    method: method.clone(),
                });
            }
        }
        claims
    }
}

fn any_or<T: Clone>(list: &[T]) -> Vec<Option<T>> {
    match list {
        [] => vec![None],
        list => list.iter().cloned().map(Some).collect(),
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = &self.method {
            write!(f, "{method} of ")?;
        }
        write!(f, "uri '{}'", self.shape)?;
        if let Some(host) = &self.host {
            write!(f, " for host {host}")?;
        }
        Ok(())
    }
}
