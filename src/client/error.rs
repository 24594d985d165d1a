//! The kinds of errors that programs can act on, and the error of a call without an answer.

use std::error::Error;
use std::sync::Arc;

use super::{AcquireError, CompleteError, ExtendError};
use crate::limit::KeyError;

/// What kind of failure an error is, for programs that act on it.
///
/// Every error of the client library has a `kind()`. It is the same over HTTP and in process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request or an option is malformed: a bad key or amount, a key twice, a key that the lease does not hold.
    InvalidRequest,
    /// The service does not know the token, or needs one and there is none: see [`HttpOptions::token`](super::HttpOptions).
    Unauthorized,
    /// The token does not allow the call, or the service does not answer under the name in its URL.
    Forbidden,
    /// No limit has this key, and no template matches it.
    UnknownKey,
    /// The template of this key has reached its `max_instances`.
    TooManyInstances,
    /// The amount is above the limit's capacity: it can never be granted.
    ExceedsCapacity,
    /// The limit has no room now.
    NoRoom,
    /// The limit grants nothing while its capacity is being lowered.
    Decreasing,
    /// There was no room before the caller's deadline.
    DeadlinePassed,
    /// The limit is not a token bucket, so it cannot be used as an object.
    NotABucket,
    /// The kind of a limit cannot be changed.
    KindChange,
    /// The limit has another version than the change expects: somebody else has changed it.
    VersionConflict,
    /// Other processes kept changing the same limit. Try again.
    Contended,
    /// The lease id was used for another request.
    LeaseConflict,
    /// The lease was completed.
    LeaseSettled,
    /// The lease, or a part of it, has expired.
    LeaseExpired,
    /// The service or its ledger did not answer; the outcome is unknown.
    Unavailable,
    /// There was no answer in time; the outcome is unknown.
    Timeout,
    /// The answer is not one of this API: check the address and the versions of both sides. The outcome is unknown.
    UnexpectedAnswer,
    /// This side was closed or shut down.
    Closed,
    /// The queue of waiters or jobs is full.
    QueueFull,
    /// The caller cancelled the wait.
    Cancelled,
    /// The caller's own code panicked.
    Panicked,
    /// A file cannot be read.
    File,
    /// None of the others, such as an error that only a newer service knows.
    Other,
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The call may or may not have been carried out. The same call with the same ids finds out.
    #[error("the limiter did not answer; the outcome is unknown")]
    Unknown {
        /// Why there is no answer: [`ErrorKind::Unavailable`], [`ErrorKind::Timeout`],
        /// [`ErrorKind::UnexpectedAnswer`] or [`ErrorKind::Contended`].
        kind: ErrorKind,
        /// The failure itself.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The call was not carried out, and repeating it unchanged does not help.
    #[error("the call was refused: {message}")]
    Refused {
        /// Why.
        kind: ErrorKind,
        /// Why, for people. It begins with the name of the field, if one is wrong.
        message: String,
    },
    /// The call was not made, because this side is closed.
    #[error("the limiter is closed")]
    Closed,
}

impl ErrorKind {
    /// Whether the request contradicts the state of its lease or limit: [`LeaseConflict`](Self::LeaseConflict),
    /// [`LeaseSettled`](Self::LeaseSettled), [`LeaseExpired`](Self::LeaseExpired), [`NotABucket`](Self::NotABucket),
    /// [`KindChange`](Self::KindChange), [`VersionConflict`](Self::VersionConflict) or [`Contended`](Self::Contended).
    pub fn is_conflict(self) -> bool {
        matches!(
            self,
            Self::LeaseConflict
                | Self::LeaseSettled
                | Self::LeaseExpired
                | Self::NotABucket
                | Self::KindChange
                | Self::VersionConflict
                | Self::Contended
        )
    }
}

impl CallError {
    /// The outcome is unknown, because the service or its ledger is unavailable.
    pub fn unknown(source: impl Error + Send + Sync + 'static) -> Self {
        Self::unknown_of_kind(ErrorKind::Unavailable, source)
    }

    /// The outcome is unknown, for a reason of this kind.
    pub fn unknown_of_kind(kind: ErrorKind, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Unknown { kind, source: Arc::new(source) }
    }

    /// The call was refused.
    pub fn refused(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Refused { kind, message: message.into() }
    }

    /// The call was refused as malformed.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::refused(ErrorKind::InvalidRequest, message)
    }

    /// Whether the outcome is unknown, so that the same call should be repeated with the same ids.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown { .. } => true,
            Self::Refused { .. } | Self::Closed => false,
        }
    }

    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { kind, .. } | Self::Refused { kind, .. } => *kind,
            Self::Closed => ErrorKind::Closed,
        }
    }
}

impl From<KeyError> for CallError {
    fn from(error: KeyError) -> Self {
        Self::invalid(format!("key {error}"))
    }
}

macro_rules! predicates {
    ($($error:ty),+) => {$(
        impl $error {
            /// Whether the service or its ledger did not answer: [`ErrorKind::Unavailable`].
            pub fn is_unavailable(&self) -> bool {
                self.kind() == ErrorKind::Unavailable
            }

            /// Whether there was no answer in time: [`ErrorKind::Timeout`].
            pub fn is_timeout(&self) -> bool {
                self.kind() == ErrorKind::Timeout
            }

            /// Whether there is no limit of this key: [`ErrorKind::UnknownKey`].
            pub fn is_unknown_key(&self) -> bool {
                self.kind() == ErrorKind::UnknownKey
            }

            /// Whether the request contradicts the state of its lease or limit: [`ErrorKind::is_conflict`].
            pub fn is_conflict(&self) -> bool {
                self.kind().is_conflict()
            }
        }
    )+};
}

predicates!(CallError, AcquireError, CompleteError, ExtendError);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Denial, LimitKey, RetryAfterSource};

    #[test]
    fn errors_pass_on_the_kind_of_their_cause() {
        let key = LimitKey::parse("rpm").expect("a valid key");
        let no_room = Denial::NoRoom {
            key: key.clone(),
            retry_after: std::time::Duration::from_millis(1),
            retry_after_source: RetryAfterSource::Estimate,
        };
        let unknown_key = AcquireError::Never(Denial::UnknownKey { key });
        assert!(unknown_key.is_unknown_key() && !unknown_key.is_conflict());
        assert_eq!(AcquireError::DeadlinePassed(no_room).kind(), ErrorKind::DeadlinePassed);
        let timeout = CallError::unknown_of_kind(ErrorKind::Timeout, std::fmt::Error);
        assert!(timeout.is_unknown() && timeout.is_timeout() && !timeout.is_unavailable());
        assert!(AcquireError::from(timeout).is_timeout());
        let unavailable = CompleteError::from(CallError::unknown(std::fmt::Error));
        assert!(unavailable.is_unavailable());
        assert!(ExtendError::LeaseOver.is_conflict());
        assert_eq!(ExtendError::from(CallError::Closed).kind(), ErrorKind::Closed);
    }

    #[test]
    fn sources_are_kept() {
        let error = CallError::unknown(std::io::Error::other("lost"));
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("lost"));
    }
}
