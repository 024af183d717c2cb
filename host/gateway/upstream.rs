//! From a checked request to its upstream: a window in this process, or an ordinary service.

use crate::body::Body;
use crate::error::Error;
use crate::gateway::client::{HttpClient, SendError};
use crate::gateway::headers;
use crate::gateway::manifest::{Route, Upstream};
use crate::gateway::target::Target;
use futures_util::future::BoxFuture;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Request, Response, Version, header};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;

/// The windows, as the gateway sees them. The registry behind it hands out the lease and keeps it until the
/// answer's body has ended.
pub trait Windows: Send + Sync {
    /// Lets `window` answer. The request's URI is absolute: the authority that the client asked for, and the path
    /// as the window is to see it.
    fn call<'a>(&'a self, window: &'a str, request: Request<Body>) -> BoxFuture<'a, Answer>;
}

/// What came of a request to an upstream.
pub struct Answer {
    pub outcome: Result<Response<Body>, Error>,
    /// Which release of the window it came to, also where that failed.
    pub release: Option<u64>,
}

impl From<Result<Response<Body>, Error>> for Answer {
    fn from(outcome: Result<Response<Body>, Error>) -> Self {
        Answer {
            outcome,
            release: None,
        }
    }
}

/// Both kinds of upstream.
pub struct Upstreams {
    windows: Arc<dyn Windows>,
    client: HttpClient,
    timeout: Duration,
}

impl Upstreams {
    /// `timeout` bounds the time until an ordinary service has sent its response head.
    pub fn new(windows: Arc<dyn Windows>, client: HttpClient, timeout: Duration) -> Self {
        Upstreams {
            windows,
            client,
            timeout,
        }
    }

    /// Sends `request`, whose headers are cleaned and stamped, to the route's upstream.
    ///
    /// # Errors
    ///
    /// When it could not even be sent; what went wrong beyond that is in the answer.
    pub async fn call(
        &self,
        route: &Route,
        target: &Target,
        path: PathAndQuery,
        mut request: Request<Body>,
    ) -> Result<Answer, Error> {
        *request.version_mut() = Version::HTTP_11;
        match &route.upstream {
            Upstream::Window { name, .. } => {
                // They have done their work. A window that never sees them cannot leak them.
                headers::drop_credentials(request.headers_mut());
                let authority = match target.authority() {
                    Some(authority) => authority.clone(),
                    None => {
                        Authority::try_from(format!("hms-svc-{name}")).map_err(Error::internal)?
                    }
                };
                address(&mut request, Scheme::HTTP, authority, path)?;
                Ok(self.windows.call(name, request).await)
            }
            Upstream::Service {
                scheme, authority, ..
            } => {
                address(&mut request, scheme.clone(), authority.clone(), path)?;
                Ok(self.service(request).await.into())
            }
        }
    }

    /// Has a window answer, whatever the route's upstream is.
    pub async fn window(&self, name: &str, mut request: Request<Body>) -> Answer {
        *request.version_mut() = Version::HTTP_11;
        self.windows.call(name, request).await
    }

    async fn service(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let sent = tokio::time::timeout(self.timeout, self.client.send(request)).await;
        let response = match sent {
            Err(_) => {
                return Err(Error::UpstreamTimeout {
                    limit: self.timeout,
                });
            }
            Ok(Err(SendError::NotAllowed(address))) => {
                return Err(Error::UpstreamRefused(address.to_string()));
            }
            Ok(Err(error @ (SendError::Connect(_) | SendError::NoTrustStore))) => {
                return Err(Error::UpstreamUnreachable(error.to_string()));
            }
            Ok(Err(error @ SendError::Broken(_))) => {
                return Err(Error::UpstreamBroken(error.to_string()));
            }
            Ok(Ok(response)) => response,
        };
        if response.status().is_informational() {
            return Err(Error::UpstreamBroken("it changed the protocol".into()));
        }
        Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
    }
}

/// The upstream's base path, then what is left of the request's path, then the query.
pub fn path_and_query(route: &Route, target: &Target) -> Result<PathAndQuery, Error> {
    let mut text = format!("{}{}", route.upstream.base(), route.stripped(target.path()));
    if let Some(query) = target.query() {
        text.push('?');
        text.push_str(query);
    }
    PathAndQuery::try_from(text).map_err(Error::internal)
}

/// Sets URI and Host, which must agree.
pub fn address(
    request: &mut Request<Body>,
    scheme: Scheme,
    authority: Authority,
    path: PathAndQuery,
) -> Result<(), Error> {
    let host = HeaderValue::from_str(authority.as_str()).map_err(Error::internal)?;
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(Error::internal)?;
    Ok(())
}
