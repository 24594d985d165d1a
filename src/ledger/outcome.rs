/// What became of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainOutcome {
    /// Every transfer was made.
    Created {
        /// When the first of them was made, in nanoseconds since the Unix epoch.
        timestamp_ns: u64,
    },
    /// None was made.
    Refused {
        /// The first transfer that could not be made; nothing is said of those behind it.
        index: usize,
        /// Why it could not.
        refusal: Refusal,
    },
}

/// Why a transfer could not be made. Those marked *final* use up the transfer's id: it fails for ever after, with
/// [`Refusal::IdAlreadyFailed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It was made before, exactly so.
    Exists,
    /// Another transfer was made before under its id.
    ExistsWithDifferent(Field),
    /// It could not be made before, for a final reason.
    IdAlreadyFailed,
    /// The debited account has less than that available. Final.
    ExceedsCredits,
    /// The credited account has less debited than that. Final.
    ExceedsDebits,
    /// Final.
    DebitAccountNotFound,
    /// Final.
    CreditAccountNotFound,
    /// Final.
    DebitAccountClosed,
    /// Final.
    CreditAccountClosed,
    /// What it voids does not exist. Final.
    PendingNotFound,
    /// What it voids is no pending transfer.
    PendingNotPending,
    /// What it voids was posted.
    PendingAlreadyPosted,
    /// What it voids was voided by another.
    PendingAlreadyVoided,
    /// What it voids has expired.
    PendingExpired,
    /// A balance would exceed 128 bits or an expiry 63.
    Overflow,
    /// No ledger would take it: a fault of this program.
    Malformed(&'static str),
}

/// A field in which a transfer differs from an earlier one of its id. The first that differs, in this order, is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Post, pend, close or void; or whether another transfer is linked behind it.
    Flags,
    /// What it voids.
    PendingId,
    /// The timeout.
    Timeout,
    /// The account that is debited.
    DebitAccount,
    /// The account that is credited.
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
    /// The purpose.
    Code,
}

impl Refusal {
    /// Whether the transfer's id is used up.
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
