//! Ids that clients make: ULIDs, a type for each thing that they name, so that one cannot stand in for another.

use std::fmt;

use ulid::Ulid;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not a ULID.
    #[error("must be a ULID, 26 characters of Crockford's base 32 up to 7ZZZZZZZZZZZZZZZZZZZZZZZZZ")]
    NotAUlid,
    /// The ULID of all zeros is reserved.
    #[error("must not be zero")]
    Zero,
}

/// Reads a ULID that is not zero; letters may be in either case.
fn parse_ulid(text: &str) -> Result<Ulid, IdError> {
    // 26 characters hold 130 bits: a first one above 7 would overflow, which the decoder does not notice.
    if text.as_bytes().first().is_some_and(|first| !(b'0'..=b'7').contains(first)) {
        return Err(IdError::NotAUlid);
    }
    not_zero(Ulid::from_string(text).map_err(|_| IdError::NotAUlid)?)
}

fn not_zero(ulid: Ulid) -> Result<Ulid, IdError> {
    if ulid.is_nil() { Err(IdError::Zero) } else { Ok(ulid) }
}

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// Makes a fresh id from the current time and random bits.
            pub fn generate() -> Self {
                // Its time is after 1970, so it is not zero.
                Self(Ulid::generate())
            }

            /// Reads a ULID; letters may be in either case.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                parse_ulid(text).map(Self)
            }

            /// Takes any ULID but zero.
            pub fn from_ulid(ulid: Ulid) -> Result<Self, IdError> {
                not_zero(ulid).map(Self)
            }

            /// The id as a number, as the ledger stores it.
            pub fn as_u128(self) -> u128 {
                self.0.0
            }

            /// The 48 bits of milliseconds since the Unix epoch that a ULID begins with.
            pub fn timestamp_ms(self) -> u64 {
                self.0.timestamp_ms()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

ulid_id! {
    /// Names one reserve attempt and the lease that it may become. A repeated attempt keeps its id; the attempt after a
    /// denial takes a new one.
    LeaseId
}

ulid_id! {
    /// Names one attempt to extend a lease. A repeated attempt keeps its id; the attempt after a denial takes a new one.
    ExtendId
}

ulid_id! {
    /// Names one attempt to renew the slots of a lease. A repeated attempt keeps its id.
    RenewId
}

ulid_id! {
    /// Names one manual refill of a token bucket, so that a repetition refills nothing.
    ReplenishId
}

ulid_id! {
    /// Names one release of tokens into a bucket, so that a repetition releases nothing.
    ReleaseId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ulids_other_than_zero_are_ids() {
        let text = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert_eq!(LeaseId::parse(text).map(|id| id.to_string()), Ok(text.to_owned()));
        assert_eq!(LeaseId::parse(&text.to_lowercase()), LeaseId::parse(text));
        for bad in
            ["", "01ARZ3NDEKTSV4RRFFQ69G5FA", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAU", "é"]
        {
            assert_eq!(LeaseId::parse(bad), Err(IdError::NotAUlid), "{bad}");
        }
        assert_eq!(LeaseId::parse(&"0".repeat(26)), Err(IdError::Zero));
    }
}
