//! Amounts.

use std::num::NonZeroU64;

/// An amount: 1 to 2^63-1 units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(NonZeroU64);

/// Why a number is not an [`Amount`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The number is zero.
    #[error("must be at least 1")]
    Zero,
    /// The number is above [`Amount::MAX`].
    #[error("must be at most {}", Amount::MAX.get())]
    TooLarge,
}

impl Amount {
    /// One unit.
    pub const ONE: Amount = Amount(NonZeroU64::MIN);
    /// The largest amount, 2^63-1: it fits signed 64-bit integers of every client language.
    pub const MAX: Amount = Amount(NonZeroU64::MIN.saturating_add(i64::MAX as u64 - 1));

    /// Checks `units` and makes it an amount.
    pub fn new(units: u64) -> Result<Self, AmountError> {
        let amount = NonZeroU64::new(units).map(Self).ok_or(AmountError::Zero)?;
        if amount > Self::MAX { Err(AmountError::TooLarge) } else { Ok(amount) }
    }

    /// The amount, in units of its limit.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl From<Amount> for u128 {
    fn from(amount: Amount) -> u128 {
        u128::from(amount.get())
    }
}
