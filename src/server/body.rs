//! How long the body of a request may be, and why it cannot be read.

/// The longest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The client announced more than [`BODY_BYTES_MAX`].
    #[error("the body is too long")]
    TooLong,
    /// The client took longer than `connections.body_timeout_ms`.
    #[error("the body did not arrive within {timeout_ms} ms")]
    TimedOut {
        /// The setting.
        timeout_ms: u64,
    },
    /// The bodies under way hold `connections.body_bytes_max`.
    #[error("too many bodies are under way; send the request again")]
    Busy,
    /// The connection was closed before the end of the body.
    #[error("the connection ended before the whole body was read")]
    Cut,
    /// The connection failed, or the body is malformed.
    #[error("the body cannot be read")]
    Connection(#[source] hyper::Error),
}
