//! The outcome of a chain, and the reasons for which a ledger refuses a transfer.

/// The outcome of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainOutcome {
    /// Every transfer was made.
    Created {
        /// When the first transfer was made, in nanoseconds since the Unix epoch.
        timestamp_ns: u64,
    },
    /// No transfer was made.
    Refused {
        /// The index of the first transfer that could not be made. Nothing is known of the transfers behind it.
        index: usize,
        /// Why that transfer could not be made.
        refusal: Refusal,
    },
}

/// Why a transfer could not be made.
///
/// A *final* refusal uses up the transfer's id: from then on the same id fails with [`Refusal::IdAlreadyFailed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The same transfer was made before.
    Exists,
    /// Another transfer was made before with this id; they differ in this field.
    ExistsWithDifferent(Field),
    /// A transfer with this id failed before, for a final reason.
    IdAlreadyFailed,
    /// The debited account has less than the amount available. Final.
    ExceedsCredits,
    /// The credited account has fewer debits than the amount. Final.
    ExceedsDebits,
    /// The debited account does not exist. Final.
    DebitAccountNotFound,
    /// The credited account does not exist. Final.
    CreditAccountNotFound,
    /// The debited account is closed. Final.
    DebitAccountClosed,
    /// The credited account is closed. Final.
    CreditAccountClosed,
    /// The transfer to void does not exist. Final.
    PendingNotFound,
    /// The transfer to void is not a pending one.
    PendingNotPending,
    /// The transfer to void was posted.
    PendingAlreadyPosted,
    /// The transfer to void was voided by another transfer.
    PendingAlreadyVoided,
    /// The transfer to void has expired.
    PendingExpired,
    /// A balance would exceed 128 bits, or an expiry time 63 bits.
    Overflow,
    /// No ledger would take this transfer: a bug in this program. Carries the ledger's name for the reason.
    Malformed(&'static str),
}

/// A field in which a transfer differs from an earlier one with the same id. The ledger names the first such field, in
/// the order of this enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Post, pend, close or void; or whether another transfer is linked behind it.
    Flags,
    /// The transfer to void.
    PendingId,
    /// The timeout.
    Timeout,
    /// The debited account.
    DebitAccount,
    /// The credited account.
    CreditAccount,
    /// The amount.
    Amount,
    /// [`super::UserData::wide`].
    UserDataWide,
    /// [`super::UserData::long`].
    UserDataLong,
    /// [`super::UserData::short`].
    UserDataShort,
    /// The ledger's number.
    Ledger,
    /// The transfer's code.
    Code,
}

impl Refusal {
    /// Whether the refusal uses up the transfer's id.
    pub fn is_final(self) -> bool {
        match self {
            Self::ExceedsCredits
            | Self::ExceedsDebits
            | Self::DebitAccountNotFound
            | Self::CreditAccountNotFound
            | Self::DebitAccountClosed
            | Self::CreditAccountClosed
            | Self::PendingNotFound => true,
            Self::Exists
            | Self::ExistsWithDifferent(_)
            | Self::IdAlreadyFailed
            | Self::PendingNotPending
            | Self::PendingAlreadyPosted
            | Self::PendingAlreadyVoided
            | Self::PendingExpired
            | Self::Overflow
            | Self::Malformed(_) => false,
        }
    }
}
