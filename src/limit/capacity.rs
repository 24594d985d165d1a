//! Capacities.

use super::{Amount, AmountError};

/// The most that may be taken of a limit: 0 to 2^63-1 units. A limit of 0 is paused: it grants nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capacity(u64);

impl Capacity {
    /// The capacity of a paused limit.
    pub const ZERO: Capacity = Capacity(0);

    /// Checks `units` and makes it a capacity.
    pub fn new(units: u64) -> Result<Self, AmountError> {
        if units > Amount::MAX.get() { Err(AmountError::TooLarge) } else { Ok(Self(units)) }
    }

    /// The capacity, in units of its limit.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Whether the amount can fit at all.
    pub fn holds(self, amount: Amount) -> bool {
        amount.get() <= self.0
    }
}

impl From<Amount> for Capacity {
    fn from(amount: Amount) -> Self {
        Self(amount.get())
    }
}

impl From<Capacity> for u128 {
    fn from(capacity: Capacity) -> u128 {
        u128::from(capacity.0)
    }
}
