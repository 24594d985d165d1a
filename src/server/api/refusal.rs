//! Why a request is not let in, or not carried out for its caller.

use crate::limit::LimitKey;
use crate::server::HostError;
use crate::server::auth::{AuthError, Scope};

/// Why a caller may not do what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::server) enum Forbidden {
    /// The caller lacks the scope.
    #[error("the token lacks the scope {0}")]
    Scope(Scope),
    /// The caller may not use the limit.
    #[error("the token may not use the key {0}")]
    Key(LimitKey),
    /// The lease holds a limit that the caller may not use. It is not told which.
    #[error("the lease holds a limit that the token may not use")]
    Lease,
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::server) enum Refusal {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
}
