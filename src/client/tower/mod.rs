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
//! | [`RateLimitLayer`], [`RateLimitBuilder`] | the layer around a service, and how it is built |
//! | [`RequestKey`] | how the key of a request is found |
//! | [`Refusal`] | why a request does not reach the service, and its answer |
//! | [`LimitedBody`] | the body of a response, which holds its lease |

mod body;
mod builder;
mod gate;
mod key;
mod limit;
mod refusal;
mod service;
#[cfg(test)]
mod tests;

pub use body::LimitedBody;
pub use builder::RateLimitBuilder;
pub use gate::WhenUnavailable;
pub use key::{FALLBACK_KEY, PeerAddr, RequestKey};
pub use limit::LayerError;
pub use refusal::Refusal;
pub use service::{RateLimit, RateLimitLayer};
