use crate::client::Amount;

/// How many permits one asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// None: only whether there are any.
    Nothing,
    /// Some.
    Some(Amount),
}

impl Wanted {
    /// The permits that are taken.
    pub(super) fn permits(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Some(amount) => amount.get(),
        }
    }

    /// The permits that must be free: to know that there are any, one.
    pub(super) fn free_min(self) -> u64 {
        self.permits().max(1)
    }
}
