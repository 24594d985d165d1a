use std::time::Duration;

use hyper::StatusCode;
use serde::de::DeserializeOwned;

use crate::client::CallError;
use crate::protocol::{AnswerError, ErrorBody};

/// Why an attempt tells nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the request could not be sent, or its answer not received")]
    Exchange(#[source] hyper_util::client::legacy::Error),
    #[error("the answer broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is no JSON of this API")]
    Json(#[from] serde_json::Error),
    #[error("the service answered with status {0}")]
    Status(StatusCode),
    #[error("a batch of {sent} items has {answered} answers")]
    Count { sent: usize, answered: usize },
    #[error("the client is shut down")]
    ShutDown,
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl From<AnswerError> for CallError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Invalid(message) => Self::Refused { message },
            AnswerError::Unknown | AnswerError::Unreadable(_) => Self::unknown(AttemptError::from(error)),
        }
    }
}

/// Reads an answer of which a conflict is one too: it is about the lease.
pub(super) fn read<A: DeserializeOwned>(status: StatusCode, answer: &[u8]) -> Result<A, CallError> {
    let status = if status == StatusCode::CONFLICT { StatusCode::OK } else { status };
    read_success(status, answer)
}

/// Reads an answer. What was refused will be refused again; of everything else that is no answer, nothing is known.
pub(super) fn read_success<A: DeserializeOwned>(status: StatusCode, answer: &[u8]) -> Result<A, CallError> {
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    if status.is_success() {
        return serde_json::from_slice(answer).map_err(|error| CallError::unknown(AttemptError::from(error)));
    }
    if !status.is_client_error() || passing.contains(&status) {
        return Err(CallError::unknown(AttemptError::Status(status)));
    }
    let message = match serde_json::from_slice::<ErrorBody>(answer) {
        Ok(body) => body.message,
        Err(_) => format!("the service answered with status {status}"),
    };
    Err(CallError::Refused { message })
}
