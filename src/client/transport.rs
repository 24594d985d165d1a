use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use super::{Complete, Extend, LimitKey, Reserve, ReserveOutcome, Usage};

/// One attempt at each call of the limiter, without a second one: [`super::Repeating`] repeats.
///
/// Every call can be made again with the same ids, and is carried out once. Dropping the future of a call leaves its
/// outcome unknown.
pub trait Transport: Send + Sync + 'static {
    /// Reserves everything that the command wants, or nothing.
    fn reserve(&self, command: &Reserve) -> impl Future<Output = Result<ReserveOutcome, CallError>> + Send;

    /// Settles a lease; one that is unknown, settled or expired is settled already.
    fn complete(&self, command: &Complete) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Reserves for each command; answers each in its place.
    fn reserve_batch(
        &self,
        commands: &[Reserve],
    ) -> impl Future<Output = Vec<Result<ReserveOutcome, CallError>>> + Send;

    /// Settles each lease; answers each in its place.
    fn complete_batch(
        &self,
        commands: &[Complete],
    ) -> impl Future<Output = Vec<Result<(), CallError>>> + Send;

    /// Reserves more of a limit for a lease that is running.
    fn extend(&self, command: &Extend) -> impl Future<Output = Result<ReserveOutcome, CallError>> + Send;

    /// How a limit stands, `None` if there is none of this name.
    fn usage(&self, key: &LimitKey) -> impl Future<Output = Result<Option<Usage>, CallError>> + Send;
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// It may have been carried out or not: the same call with the same ids finds out.
    #[error("the outcome is unknown")]
    Unknown(#[source] Arc<dyn Error + Send + Sync>),
    /// It was not carried out, and never will be as it is.
    #[error("the call was refused: {message}")]
    Refused {
        /// Why, in the words of the one who refused.
        message: String,
    },
    /// It was not made: this side is closed.
    #[error("the limiter is closed")]
    Closed,
}

impl CallError {
    /// Unknown, because of an error.
    pub fn unknown(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Unknown(Arc::new(error))
    }

    /// Whether the same call should be made again.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            Self::Refused { .. } | Self::Closed => false,
        }
    }
}

/// A transport that several owners share.
impl<T: Transport> Transport for Arc<T> {
    async fn reserve(&self, command: &Reserve) -> Result<ReserveOutcome, CallError> {
        T::reserve(self, command).await
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        T::complete(self, command).await
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, CallError>> {
        T::reserve_batch(self, commands).await
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        T::complete_batch(self, commands).await
    }

    async fn extend(&self, command: &Extend) -> Result<ReserveOutcome, CallError> {
        T::extend(self, command).await
    }

    async fn usage(&self, key: &LimitKey) -> Result<Option<Usage>, CallError> {
        T::usage(self, key).await
    }
}
