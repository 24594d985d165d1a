//! Errors as gRPC statuses.

use tonic::{Code, Status};

use super::plan::PlanError;
use crate::server::api::{Forbidden, Refusal, Reject};
use crate::server::auth::AuthError;

/// The status of a request that failed. An unavailable service leaves the outcome unknown.
pub(super) fn refusal(reject: &Reject) -> Status {
    let code = match reject.status().as_u16() {
        503 => {
            reject.log();
            Code::Unavailable
        }
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        _ => Code::Internal,
    };
    Status::new(code, reject.message())
}

pub(super) fn forbidden(forbidden: Forbidden) -> Status {
    refusal(&Reject::from(forbidden))
}

pub(super) fn unauthenticated(error: AuthError) -> Status {
    refusal(&Reject::from(Refusal::from(error)))
}

pub(super) fn unplannable(error: &PlanError) -> Status {
    Status::invalid_argument(error.to_string())
}
