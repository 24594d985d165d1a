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
use crate::telemetry::with_sources;

/// Limits the requests of a service.
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

/// What a layer does besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimitOptions {
    /// Whether the responses of the service tell what is left of every limit. That takes a look-up for each limit and
    /// request, made while the service works.
    pub tells_remaining: bool,
    /// What becomes of requests while the limiter does not answer.
    pub when_unavailable: WhenUnavailable,
}

/// What becomes of requests while the limiter does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenUnavailable {
    /// They are answered with 503.
    #[default]
    Refuse,
    /// They reach the service without limit.
    LetThrough,
}

/// What becomes of a request.
enum Entry<T: Transport> {
    Granted(Lease<T>),
    LetThrough,
    Answered(Response<Full<Bytes>>),
}

impl<T: Transport> RateLimitLayer<T> {
    /// A layer that finds the key of each request and reserves one unit of each of the limits, 1 to 32, for it.
    pub fn new(
        limiter: Limiter<T>,
        key: RequestKey,
        limits: Vec<HttpLimit>,
        options: RateLimitOptions,
    ) -> Result<Self, RequirementsError> {
        // What holds for this key holds for all.
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
        // The one that is ready is used, and its clone is asked to be.
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
                    gate.tell_policies(&mut response);
                    return Ok(response);
                }
            };
            let called = service.call(Request::from_parts(parts, body));
            let (response, remaining) = join(called, gate.remaining(&key)).await;
            let lease = lease.map(|lease| Box::new(lease) as _);
            let mut response = response?.map(|body| LimitedBody::of_service(body, lease));
            gate.tell_policies(&mut response);
            tell(&mut response, RATE_LIMIT, &remaining);
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
                tracing::warn!(error = with_sources(&error), "the rate limiter does not answer");
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
            tracing::error!(%denial, "a limit of HTTP requests is not defined as it should be");
            return answer::no_limit();
        };
        let seconds = answer::seconds(retry_after);
        let mut response = answer::too_many_requests(limit.name(), seconds);
        tell(&mut response, RATE_LIMIT, &[limit.state(0, Some(seconds))]);
        response
    }

    /// What is left of each limit, as far as it is to be told and can be found out.
    async fn remaining(&self, key: &str) -> Vec<String> {
        let look_up = async |limit: &HttpLimit| {
            let available = self.limiter.available(&LimitKey::parse(&limit.key(key)).ok()?).await;
            Some(limit.state(available.ok()??, None))
        };
        let limits = if self.options.tells_remaining { self.limits.as_slice() } else { &[] };
        join_all(limits.iter().map(look_up)).await.into_iter().flatten().collect()
    }

    fn tell_policies<B>(&self, response: &mut Response<B>) {
        let policies: Vec<String> = self.limits.iter().map(HttpLimit::policy).collect();
        tell(response, RATE_LIMIT_POLICY, &policies);
    }
}

/// Adds the items to a field that is a list, if there are any.
fn tell<B>(response: &mut Response<B>, field: HeaderName, items: &[String]) {
    // Items are printable ASCII, so they can stand in a header.
    if let (false, Ok(value)) = (items.is_empty(), HeaderValue::try_from(items.join(", "))) {
        response.headers_mut().append(field, value);
    }
}
