//! Why the registry could not read or change definitions.

use crate::decide::definition_codec::CodecError;
use crate::ledger::LedgerError;
use crate::limit::LimitKey;

/// Why the registry could not read or change definitions. A change that failed may have been made.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The ledger did not answer.
    #[error("the ledger did not answer")]
    Ledger(#[from] LedgerError),
    /// A definition cannot be encoded or decoded.
    #[error("a definition cannot be encoded or decoded")]
    Codec(#[from] CodecError),
    /// Other replicas changed the limit each time this one tried.
    #[error("limit {0} is being changed by other replicas; try again")]
    Contended(LimitKey),
}

impl RegistryError {
    /// Whether the ledger gave no answer: it did not respond, or the connection failed.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_unreachable(),
            Self::Codec(_) | Self::Contended(_) => false,
        }
    }
}
