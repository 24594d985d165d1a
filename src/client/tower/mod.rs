//! A tower layer that limits the requests of an HTTP service.
//!
//! For each request the layer finds a key and reserves one unit of every limit of that key. Then it calls the
//! service. It completes the lease when the body of the response has ended, failed, or been dropped.
//!
//! A request without room is answered with status 429, `Retry-After`, and the fields `RateLimit` and
//! `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-11. The responses of the service get
//! `RateLimit-Policy` too.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`RateLimitLayer`] | the layer around a service |
//! | [`RequestKey`] | how the key of a request is found |
//! | [`HttpLimit`] | a limit, as HTTP clients see it |
//! | [`LimitedBody`] | the body of a response, which holds its lease |

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
