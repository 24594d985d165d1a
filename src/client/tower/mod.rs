//! A tower layer that limits the requests of an HTTP service.
//!
//! For each request it finds a key, reserves one unit of every limit of that key, calls the service, and completes the
//! lease when the body of the response has ended, failed, or been dropped. A request without room is answered with 429,
//! `Retry-After`, and the `RateLimit` and `RateLimit-Policy` fields of draft-ietf-httpapi-ratelimit-headers-11; the
//! responses of the service get the latter too.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`RateLimitLayer`] | what a service is wrapped with |
//! | [`RequestKey`] | how the key of a request is found |
//! | [`HttpLimit`] | a limit as it is told to HTTP clients |
//! | [`LimitedBody`] | the body of a response, which keeps its lease |

mod answer;
mod body;
mod key;
mod limit;
mod service;
#[cfg(test)]
mod tests;

pub use body::LimitedBody;
pub use key::{FALLBACK_KEY, PeerAddr, RequestKey};
pub use limit::{HttpLimit, HttpLimitError};
pub use service::{RateLimit, RateLimitLayer, RateLimitOptions, WhenUnavailable};
