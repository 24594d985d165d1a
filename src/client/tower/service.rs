//! The layer, and the service that it makes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::join;
use hyper::body::{Body, Bytes};
use hyper::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::body::LimitedBody;
use super::gate::{Entry, Gate, RATE_LIMIT, append};
use crate::client::{InProcess, Transport};

/// A layer that limits the requests of a service. Clones share their limits.
pub struct RateLimitLayer<T = InProcess> {
    pub(super) gate: Arc<Gate<T>>,
}

/// A service whose requests are limited. Clones share their limits.
pub struct RateLimit<S, T = InProcess> {
    service: S,
    gate: Arc<Gate<T>>,
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
            let (key, lease) = match gate.enter(&parts).await {
                Entry::Granted { key, lease } => (Some(key), Some(lease)),
                Entry::LetThrough => (None, None),
                Entry::Answered(answer) => return Ok(answer.map(LimitedBody::of_answer)),
            };
            let called = service.call(Request::from_parts(parts, body));
            let (response, remaining) = join(called, gate.remaining(key.as_deref())).await;
            let is_limited = lease.is_some();
            let lease = lease.map(|lease| Box::new(lease) as _);
            let mut response = response?.map(|body| LimitedBody::of_service(body, lease));
            if is_limited {
                gate.append_policies(&mut response);
            }
            append(&mut response, RATE_LIMIT, &remaining);
            Ok(response)
        })
    }
}
