//! What decides whether a request reaches the service.

use std::future::Future;
use std::pin::Pin;

use futures_util::future::join_all;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use tokio::sync::OnceCell;

use super::key::RequestKey;
use super::limit::{HttpLimit, requirements};
use super::refusal::Refusal;
use crate::client::{Acquired, CallError, Denial, InProcessError, Lease, LimitKey, Limiter, Transport};
use crate::telemetry::{Occurrences, with_sources};

pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

static NO_ANSWERS: Occurrences = Occurrences::new();
static NEVER_GRANTED: Occurrences = Occurrences::new();

pub(super) type Skip = dyn Fn(&Parts) -> bool + Send + Sync;
pub(super) type Respond = dyn Fn(&Refusal) -> Response<Full<Bytes>> + Send + Sync;

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

/// The limits of a layer, and what happens to its requests.
pub(super) struct Gate<T> {
    pub(super) limiter: LayerLimiter<T>,
    pub(super) key: RequestKey,
    pub(super) limits: Vec<HttpLimit>,
    pub(super) tells_remaining: bool,
    pub(super) when_unavailable: WhenUnavailable,
    pub(super) skip: Box<Skip>,
    pub(super) respond: Box<Respond>,
}

/// What happens to a request.
pub(super) enum Entry<T: Transport> {
    Granted { key: String, lease: Lease<T> },
    LetThrough,
    Answered(Response<Full<Bytes>>),
}

/// The limiter of a layer. One in this process needs a runtime, which a layer may be built without; so it starts with
/// the first request.
pub(super) struct LayerLimiter<T> {
    started: OnceCell<Limiter<T>>,
    /// `None` if it was given.
    start: Option<Box<Start<T>>>,
}

type Started<T> = Pin<Box<dyn Future<Output = Result<Limiter<T>, InProcessError>> + Send>>;
pub(super) type Start<T> = dyn Fn() -> Started<T> + Send + Sync;

impl<T> LayerLimiter<T> {
    /// A limiter that starts with the first request.
    pub(super) fn started_by(start: Box<Start<T>>) -> Self {
        Self { started: OnceCell::new(), start: Some(start) }
    }

    /// A limiter that runs already.
    pub(super) fn running(limiter: Limiter<T>) -> Self {
        Self { started: OnceCell::new_with(Some(limiter)), start: None }
    }

    pub(super) async fn get(&self) -> Result<&Limiter<T>, CallError> {
        let started = self.started.get_or_try_init(async || match &self.start {
            Some(start) => start().await.map_err(CallError::unknown),
            None => Err(CallError::Closed),
        });
        started.await
    }
}

impl<T: Transport> Gate<T> {
    pub(super) async fn enter(&self, parts: &Parts) -> Entry<T> {
        if (self.skip)(parts) {
            return Entry::LetThrough;
        }
        let Ok(key) = self.key.of(parts) else { return self.refuse(&Refusal::NoPeerAddress, &[]) };
        let attempt = async {
            let wants =
                requirements(&self.limits, &key).map_err(|error| CallError::invalid(error.to_string()))?;
            self.limiter.get().await?.try_acquire(&wants).await
        };
        match attempt.await {
            Ok(Acquired::Granted(lease)) => Entry::Granted { key, lease },
            Ok(Acquired::Denied(denial)) => self.deny(&key, denial),
            Err(error) => {
                if let Some(times) = NO_ANSWERS.count() {
                    tracing::warn!(
                        times,
                        error = with_sources(&error),
                        "the rate limiter does not answer; requests are handled as `when_unavailable` says"
                    );
                }
                match self.when_unavailable {
                    WhenUnavailable::Refuse => self.refuse(&Refusal::Unavailable, &[]),
                    WhenUnavailable::LetThrough => Entry::LetThrough,
                }
            }
        }
    }

    fn deny(&self, key: &str, denial: Denial) -> Entry<T> {
        let limit = self.limits.iter().find(|limit| limit.key(key) == denial.key().as_str());
        match (limit, denial.retry_after()) {
            (Some(limit), Some(retry_after)) => {
                let refusal = Refusal::NoRoom { limit: limit.name().to_owned(), retry_after };
                let state = limit.state(0, refusal.retry_after_seconds());
                self.refuse(&refusal, &[state])
            }
            (Some(_) | None, Some(_) | None) => {
                if let Some(times) = NEVER_GRANTED.count() {
                    tracing::error!(times, %denial, "a limit of HTTP requests can grant none; check its definition");
                }
                self.refuse(&Refusal::Never(denial), &[])
            }
        }
    }

    /// The answer to a request that is refused, with these `RateLimit` items.
    fn refuse(&self, refusal: &Refusal, state: &[String]) -> Entry<T> {
        let mut answer = (self.respond)(refusal);
        self.append_policies(&mut answer);
        append(&mut answer, RATE_LIMIT, state);
        Entry::Answered(answer)
    }

    /// The `RateLimit` items of all limits that can be looked up; none if the option is off or the key is not known.
    pub(super) async fn remaining(&self, key: Option<&str>) -> Vec<String> {
        let (true, Some(key), Ok(limiter)) = (self.tells_remaining, key, self.limiter.get().await) else {
            return Vec::new();
        };
        let look_up = async |limit: &HttpLimit| {
            let available = limiter.available(&LimitKey::parse(&limit.key(key)).ok()?).await;
            Some(limit.state(available.ok()??, None))
        };
        join_all(self.limits.iter().map(look_up)).await.into_iter().flatten().collect()
    }

    pub(super) fn append_policies<B>(&self, response: &mut Response<B>) {
        let policies: Vec<String> = self.limits.iter().map(HttpLimit::policy).collect();
        append(response, RATE_LIMIT_POLICY, &policies);
    }
}

/// Appends a list field with these items, unless there are none.
pub(super) fn append<B>(response: &mut Response<B>, field: HeaderName, items: &[String]) {
    // Items are printable ASCII, so they make a header value.
    if let (false, Ok(value)) = (items.is_empty(), HeaderValue::try_from(items.join(", "))) {
        response.headers_mut().append(field, value);
    }
}
