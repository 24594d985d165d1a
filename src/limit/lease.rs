use std::fmt;

use ulid::Ulid;

/// The name of one reserve attempt, a ULID made by the client. Repeating an attempt repeats its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(Ulid);

/// Why a text is no lease id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseIdError {
    /// It is no ULID.
    #[error("must be a ULID, 26 characters of Crockford's base 32 up to 7ZZZZZZZZZZZZZZZZZZZZZZZZZ")]
    NotAUlid,
    /// It is the ULID of all zeros, which names nothing.
    #[error("must not be zero")]
    Zero,
}

impl LeaseId {
    /// A fresh one.
    pub fn generate() -> Self {
        // Of the time now, so not zero.
        Self(Ulid::generate())
    }

    /// Reads a ULID; letters may be in either case.
    pub fn parse(text: &str) -> Result<Self, LeaseIdError> {
        // 26 characters hold 130 bits: a first one above 7 would overflow, which the decoder does not notice.
        if text.as_bytes().first().is_some_and(|first| !(b'0'..=b'7').contains(first)) {
            return Err(LeaseIdError::NotAUlid);
        }
        let ulid = Ulid::from_string(text).map_err(|_| LeaseIdError::NotAUlid)?;
        Self::from_ulid(ulid)
    }

    /// Takes a ULID as it is, unless it is zero.
    pub fn from_ulid(ulid: Ulid) -> Result<Self, LeaseIdError> {
        if ulid.is_nil() { Err(LeaseIdError::Zero) } else { Ok(Self(ulid)) }
    }

    /// The id as a number, as it stands in the ledger.
    pub fn as_u128(self) -> u128 {
        self.0.0
    }

    /// The 48 bits of milliseconds that a ULID begins with.
    pub fn timestamp_ms(self) -> u64 {
        self.0.timestamp_ms()
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_ids_are_checked() {
        let text = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert_eq!(LeaseId::parse(text).map(|id| id.to_string()), Ok(text.to_owned()));
        assert_eq!(LeaseId::parse(&text.to_lowercase()), LeaseId::parse(text));
        for bad in
            ["", "01ARZ3NDEKTSV4RRFFQ69G5FA", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAU", "é"]
        {
            assert_eq!(LeaseId::parse(bad), Err(LeaseIdError::NotAUlid), "{bad}");
        }
        assert_eq!(LeaseId::parse(&"0".repeat(26)), Err(LeaseIdError::Zero));
    }
}
