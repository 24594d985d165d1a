//! What callers may name a limit by.

use crate::limit::{KeyError, LimitKey};

/// A limit key, or a text that may be one: `LimitKey`, `&LimitKey`, `&str`, `String` or `&String`.
///
/// Every function of the client library that asks for a key takes any of them. A text that is not a key is an error
/// of kind [`InvalidRequest`](super::ErrorKind::InvalidRequest).
pub trait IntoLimitKey: AsRef<str> {
    /// Checks a text. A [`LimitKey`] is passed on.
    fn into_limit_key(self) -> Result<LimitKey, KeyError>;

    /// The same for the key of a definition, which may have placeholders.
    fn into_definition_key(self) -> Result<LimitKey, KeyError>
    where
        Self: Sized,
    {
        LimitKey::parse_name(self.as_ref())
    }
}

impl IntoLimitKey for LimitKey {
    fn into_limit_key(self) -> Result<LimitKey, KeyError> {
        Ok(self)
    }
}

impl IntoLimitKey for &LimitKey {
    fn into_limit_key(self) -> Result<LimitKey, KeyError> {
        Ok(self.clone())
    }
}

impl IntoLimitKey for &str {
    fn into_limit_key(self) -> Result<LimitKey, KeyError> {
        LimitKey::parse(self)
    }
}

impl IntoLimitKey for String {
    fn into_limit_key(self) -> Result<LimitKey, KeyError> {
        LimitKey::parse(&self)
    }
}

impl IntoLimitKey for &String {
    fn into_limit_key(self) -> Result<LimitKey, KeyError> {
        LimitKey::parse(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_texts_name_the_same_limit() {
        let key = LimitKey::parse("rpm").expect("a valid key");
        let text = "rpm".to_owned();
        for same in [(&key).into_limit_key(), "rpm".into_limit_key(), (&text).into_limit_key()] {
            assert_eq!(same.as_ref(), Ok(&key));
        }
        assert_eq!(text.into_limit_key().as_ref(), Ok(&key));
        assert_eq!(key.clone().into_limit_key(), Ok(key));
        assert_eq!("".into_limit_key(), Err(KeyError::Empty));
    }
}
