//! Builds the layer.

use std::sync::Arc;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::http::request::Parts;

use super::gate::{Gate, LayerLimiter, Respond, Skip, Start, WhenUnavailable};
use super::key::{FALLBACK_KEY, RequestKey};
use super::limit::{HttpLimit, LayerError, requirements};
use super::refusal::Refusal;
use super::service::RateLimitLayer;
use crate::client::{InProcess, IntoDefinition, Limiter, Rate, Transport};
use crate::limit::Definition;
use crate::telemetry::with_sources;

/// A layer to be built: how the key of a request is found, and the limits that each key has.
///
/// ```
/// use std::time::Duration;
///
/// use axum::Router;
/// use hyper::header::HeaderName;
/// use ledger_limiter::client::tower::{RateLimitLayer, RequestKey};
/// use ledger_limiter::client::{Limit, Rate};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = RateLimitLayer::builder(RequestKey::header(HeaderName::from_static("x-tenant")))
///     .named_limit("per-minute", Rate::per_minute(600).burst(20).limit("http:rate:{tenant}"))
///     .named_limit("at-once", Limit::concurrency("http:slots:{tenant}", 5).timeout(Duration::from_secs(60)))
///     .skip(|request| request.uri.path() == "/healthz")
///     .in_process()?;
/// let router: Router = Router::new().layer(layer);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it builds the layer"]
pub struct RateLimitBuilder {
    key: RequestKey,
    limits: Vec<(Definition, HttpLimit)>,
    /// The first fault of a limit.
    fault: Option<LayerError>,
    tells_remaining: bool,
    when_unavailable: WhenUnavailable,
    skip: Box<Skip>,
    respond: Box<Respond>,
}

impl RateLimitLayer {
    /// A layer that gives each client address this rate, within this process.
    ///
    /// The server must tell the address of the peer, as axum does with
    /// `into_make_service_with_connect_info::<SocketAddr>()`. Behind a proxy that is the address of the proxy: see
    /// [`RequestKey::forwarded_ip`].
    ///
    /// ```
    /// use axum::Router;
    /// use axum::routing::get;
    /// use ledger_limiter::client::Rate;
    /// use ledger_limiter::client::tower::RateLimitLayer;
    ///
    /// let layer = RateLimitLayer::per_ip(Rate::per_second(2).burst(5));
    /// let router: Router = Router::new().route("/", get(async || "hello")).layer(layer);
    /// ```
    ///
    /// # Panics
    ///
    /// If a bucket cannot have this rate: it is not above 0, or the burst is 0. [`RateLimitLayer::builder`] returns the
    /// error instead.
    #[expect(
        clippy::panic,
        reason = "the rate is written in the program, and the error says what is wrong with it"
    )]
    pub fn per_ip(rate: Rate) -> Self {
        let builder = Self::builder(RequestKey::peer_ip()).limit(rate.limit("http:ip:{ip}"));
        builder.in_process().unwrap_or_else(|error| panic!("{}: {rate:?}", with_sources(&error)))
    }

    /// A layer that finds the key of each request in this way.
    pub fn builder(key: RequestKey) -> RateLimitBuilder {
        RateLimitBuilder {
            key,
            limits: Vec::new(),
            fault: None,
            tells_remaining: false,
            when_unavailable: WhenUnavailable::default(),
            skip: Box::new(|_| false),
            respond: Box::new(Refusal::answer),
        }
    }
}

impl RateLimitBuilder {
    /// Adds a limit, of which each request takes one unit. Its key is a template that ends in its only placeholder, as
    /// `http:ip:{ip}`: the key of a request fills it. Clients see it under the beginning of that key.
    pub fn limit(self, limit: impl IntoDefinition) -> Self {
        self.add(None, limit)
    }

    /// Adds a limit that clients see as `name`, of 1 to 64 printable ASCII characters; see [`limit`](Self::limit).
    pub fn named_limit(self, name: &str, limit: impl IntoDefinition) -> Self {
        self.add(Some(name), limit)
    }

    fn add(mut self, name: Option<&str>, limit: impl IntoDefinition) -> Self {
        let added = limit.into_definition().map_err(LayerError::from).and_then(|definition| {
            let limit = HttpLimit::of(&definition, name)?;
            Ok((definition, limit))
        });
        match added {
            Ok(limit) => self.limits.push(limit),
            Err(fault) => self.fault = self.fault.or(Some(fault)),
        }
        self
    }

    /// Sets whether the responses of the service say how much of every limit is left. False by default. It takes one
    /// look-up for each limit and request, while the service works.
    pub fn tells_remaining(self, tells_remaining: bool) -> Self {
        Self { tells_remaining, ..self }
    }

    /// Sets what happens to requests while the limiter does not answer. They are refused by default.
    pub fn when_unavailable(self, when_unavailable: WhenUnavailable) -> Self {
        Self { when_unavailable, ..self }
    }

    /// Lets requests through that `skip` accepts, without a lease. None by default.
    pub fn skip(self, skip: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Self { skip: Box::new(skip), ..self }
    }

    /// Sets the answer to requests that are refused. By default it is [`Refusal::answer`].
    pub fn respond(
        self,
        respond: impl Fn(&Refusal) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self { respond: Box::new(respond), ..self }
    }

    /// A layer with a limiter of its own in this process, which starts with the first request and has these limits.
    ///
    /// # Errors
    ///
    /// A limit is not valid, there is none, or there are more than 32.
    pub fn in_process(self) -> Result<RateLimitLayer<InProcess>, LayerError> {
        let definitions: Arc<[Definition]> =
            self.limits.iter().map(|(definition, _)| definition.clone()).collect();
        let start: Box<Start<InProcess>> = Box::new(move || {
            let definitions = Arc::clone(&definitions);
            Box::pin(async move { Ok(Limiter::new(InProcess::with_limits(definitions.iter()).await?)) })
        });
        self.build(LayerLimiter::started_by(start))
    }

    /// A layer over an existing limiter. The limits must be defined there, as templates: at the service, or in
    /// [`InProcess`]. Clients are told what is said here.
    ///
    /// # Errors
    ///
    /// As [`in_process`](Self::in_process).
    pub fn over<T: Transport>(self, limiter: Limiter<T>) -> Result<RateLimitLayer<T>, LayerError> {
        self.build(LayerLimiter::running(limiter))
    }

    fn build<T>(self, limiter: LayerLimiter<T>) -> Result<RateLimitLayer<T>, LayerError> {
        let Self { key, limits, fault, tells_remaining, when_unavailable, skip, respond } = self;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let limits: Vec<HttpLimit> = limits.into_iter().map(|(_, limit)| limit).collect();
        // The prefixes leave room for any key, so the limits are valid for all keys if they are for this one.
        requirements(&limits, FALLBACK_KEY)?;
        let gate = Gate { limiter, key, limits, tells_remaining, when_unavailable, skip, respond };
        Ok(RateLimitLayer { gate: Arc::new(gate) })
    }
}
