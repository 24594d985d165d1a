//! A number of permits.

use crate::client::Amount;

/// The number of permits that a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PermitCount {
    /// 0: the call only asks whether any permit is free.
    Zero,
    /// 1 or more.
    Some(Amount),
}

impl PermitCount {
    /// The permits that a grant takes.
    pub(super) fn get(self) -> u64 {
        match self {
            Self::Zero => 0,
            Self::Some(amount) => amount.get(),
        }
    }

    /// The permits that must be free for a grant. A call for 0 permits needs one free permit.
    pub(super) fn free_min(self) -> u64 {
        self.get().max(1)
    }
}
