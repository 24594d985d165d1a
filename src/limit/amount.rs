/// An amount or a capacity: 1 to 2^63-1 units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

/// Why a number is no [`Amount`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// It is zero.
    #[error("must be at least 1")]
    Zero,
    /// It is over [`Amount::MAX`].
    #[error("must be at most {}", Amount::MAX.get())]
    TooLarge,
}

impl Amount {
    /// The largest amount, 2^63-1: it fits signed 64-bit integers of every client language.
    pub const MAX: Amount = Amount(i64::MAX as u64);

    /// Checks `units` and makes it an amount.
    pub fn new(units: u64) -> Result<Self, AmountError> {
        match units {
            0 => Err(AmountError::Zero),
            too_large if too_large > Self::MAX.0 => Err(AmountError::TooLarge),
            units => Ok(Self(units)),
        }
    }

    /// The amount in units of its limit.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl From<Amount> for u128 {
    fn from(amount: Amount) -> u128 {
        u128::from(amount.0)
    }
}
