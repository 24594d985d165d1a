//! The layer, and the service that it makes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{join, join_all};
use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::answer::{self, RATE_LIMIT, RATE_LIMIT_POLICY};
use super::body::LimitedBody;
use super::key::{FALLBACK_KEY, RequestKey};
use super::limit::{HttpLimit, requirements};
use crate::client::{Acquired, Denial, Lease, LimitKey, Limiter, RequirementsError, Transport};
use crate::telemetry::{Occurrences, with_sources};

static NO_ANSWERS: Occurrences = Occurrences::new();
static NEVER_GRANTED: Occurrences = Occurrences::new();

/// A layer that limits the requests of a service.
pub struct RateLimitLayer<T> {
    gate: Arc<Gate<T>>,
}

/// A service whose requests are limited.
pub struct RateLimit<S, T> {
    service: S,
    gate: Arc<Gate<T>>,
}

struct Gate<T> {
    limiter: Limiter<T>,
    key: RequestKey,
    limits: Vec<HttpLimit>,
    options: RateLimitOptions,
}

/// Options of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RateLimitOptions {
    /// Whether the responses of the service say how much of every limit is left. False by default. It takes one
    /// look-up for each limit and request, while the service works.
    pub tells_remaining: bool,
    /// What happens to requests while the limiter does not answer. They are refused by default.
    pub when_unavailable: WhenUnavailable,
}

impl RateLimitOptions {
    /// Sets whether the responses of the service say how much of every limit is left. False by default.
    #[must_use]
    pub const fn tells_remaining(self, tells_remaining: bool) -> Self {
        Self { tells_remaining, ..self }
    }

    /// Sets what happens to requests while the limiter does not answer. They are refused by default.
    #[must_use]
    pub const fn when_unavailable(self, when_unavailable: WhenUnavailable) -> Self {
        Self { when_unavailable, ..self }
    }
}

/// What happens to requests while the limiter does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenUnavailable {
    /// They are answered with status 503.
    #[default]
    Refuse,
    /// They reach the service without a lease.
    LetThrough,
}

/// What happens to a request.
enum Entry<T: Transport> {
    Granted(Lease<T>),
    LetThrough,
    Answered(Response<Full<Bytes>>),
}

impl<T: Transport> RateLimitLayer<T> {
    /// A layer that finds the key of each request and reserves one unit of each of the 1 to 32 limits for it.
    pub fn new(
        limiter: Limiter<T>,
        key: RequestKey,
        limits: Vec<HttpLimit>,
        options: RateLimitOptions,
    ) -> Result<Self, RequirementsError> {
        // The prefixes leave room for any key, so the limits are valid for all keys if they are for this one.
        requirements(&limits, FALLBACK_KEY)?;
        Ok(Self { gate: Arc::new(Gate { limiter, key, limits, options }) })
    }
}

impl<T> Clone for RateLimitLayer<T> {
    fn clone(&self) -> Self {
        Self { gate: Arc::clone(&self.gate) }
    }
}

impl<S: Clone, T> Clone for RateLimit<S, T> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), gate: Arc::clone(&self.gate) }
    }
}

impl<S, T> Layer<S> for RateLimitLayer<T> {
    type Service = RateLimit<S, T>;

    fn layer(&self, service: S) -> Self::Service {
        RateLimit { service, gate: Arc::clone(&self.gate) }
    }
}

impl<S, T, A, B> Service<Request<A>> for RateLimit<S, T>
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    T: Transport,
    A: Send + 'static,
    B: Body<Data = Bytes> + Send,
{
    type Response = Response<LimitedBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        // The service itself is ready; its clone may not be. So this call takes the service and leaves the clone.
        let clone = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, clone);
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let key = gate.key.of(&parts);
            let lease = match gate.enter(&key).await {
                Entry::Granted(lease) => Some(lease),
                Entry::LetThrough => None,
                Entry::Answered(answer) => {
                    let mut response = answer.map(LimitedBody::of_answer);
                    gate.append_policies(&mut response);
                    return Ok(response);
                }
            };
            let called = service.call(Request::from_parts(parts, body));
            let (response, remaining) = join(called, gate.remaining(&key)).await;
            let lease = lease.map(|lease| Box::new(lease) as _);
            let mut response = response?.map(|body| LimitedBody::of_service(body, lease));
            gate.append_policies(&mut response);
            append(&mut response, RATE_LIMIT, &remaining);
            Ok(response)
        })
    }
}

impl<T: Transport> Gate<T> {
    async fn enter(&self, key: &str) -> Entry<T> {
        let Ok(wants) = requirements(&self.limits, key) else { return Entry::Answered(answer::no_limit()) };
        match self.limiter.try_acquire(&wants).await {
            Ok(Acquired::Granted(lease)) => Entry::Granted(lease),
            Ok(Acquired::Denied(denial)) => Entry::Answered(self.denied(key, &denial)),
            Err(error) => {
                if let Some(times) = NO_ANSWERS.count() {
                    tracing::warn!(
                        times,
                        error = with_sources(&error),
                        "the rate limiter does not answer; requests are handled as `when_unavailable` says"
                    );
                }
                match self.options.when_unavailable {
                    WhenUnavailable::Refuse => Entry::Answered(answer::unavailable()),
                    WhenUnavailable::LetThrough => Entry::LetThrough,
                }
            }
        }
    }

    fn denied(&self, key: &str, denial: &Denial) -> Response<Full<Bytes>> {
        let limit = self.limits.iter().find(|limit| limit.key(key) == denial.key().as_str());
        let (Some(limit), Some(retry_after)) = (limit, denial.retry_after()) else {
            if let Some(times) = NEVER_GRANTED.count() {
                tracing::error!(times, %denial, "a limit of HTTP requests can grant none; check its definition");
            }
            return answer::no_limit();
        };
        let seconds = answer::seconds(retry_after);
        let mut response = answer::too_many_requests(limit.name(), seconds);
        append(&mut response, RATE_LIMIT, &[limit.state(0, Some(seconds))]);
        response
    }

    /// The `RateLimit` items of all limits that can be looked up; none if the option is off.
    async fn remaining(&self, key: &str) -> Vec<String> {
        let look_up = async |limit: &HttpLimit| {
            let available = self.limiter.available(&LimitKey::parse(&limit.key(key)).ok()?).await;
            Some(limit.state(available.ok()??, None))
        };
        let limits = if self.options.tells_remaining { self.limits.as_slice() } else { &[] };
        join_all(limits.iter().map(look_up)).await.into_iter().flatten().collect()
    }

    fn append_policies<B>(&self, response: &mut Response<B>) {
        let policies: Vec<String> = self.limits.iter().map(HttpLimit::policy).collect();
        append(response, RATE_LIMIT_POLICY, &policies);
    }
}

/// Appends a list field with these items, unless there are none.
fn append<B>(response: &mut Response<B>, field: HeaderName, items: &[String]) {
    // Items are printable ASCII, so they make a header value.
    if let (false, Ok(value)) = (items.is_empty(), HeaderValue::try_from(items.join(", "))) {
        response.headers_mut().append(field, value);
    }
}
