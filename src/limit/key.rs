//! Limit keys.

use std::fmt;
use std::sync::Arc;

use super::escape::{check_characters, check_escapes};
use super::key_error::{KEY_BYTES_MAX, KeyError};
use super::segments::check_segments;

/// The name of a limit, such as `tenant:acme:llm:daily_tokens`: 1 to 256 bytes of `A-Z a-z 0-9 : . _ / @ + = -` and of
/// `%XX` escapes ([`escape_segment`](super::escape_segment)), the first one a letter or a digit. Cloning it is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitKey(Arc<str>);

impl LimitKey {
    /// Checks `text` and makes it the key of a limit.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let first = text.chars().next().ok_or(KeyError::Empty)?;
        check_length_and_escapes(text)?;
        if !first.is_ascii_alphanumeric() {
            return Err(KeyError::BadStart(first));
        }
        check_characters(text)?;
        Ok(Self(text.into()))
    }

    /// Checks `text` and makes it the key of a definition: of a limit, or of a template (see [`super::KeyTemplate`]).
    pub fn parse_name(text: &str) -> Result<Self, KeyError> {
        if !text.contains(['{', '}']) {
            return Self::parse(text);
        }
        check_length_and_escapes(text)?;
        if let Some(first) =
            text.chars().next().filter(|first| *first != '{' && !first.is_ascii_alphanumeric())
        {
            return Err(KeyError::BadStart(first));
        }
        check_segments(text)?;
        Ok(Self(text.into()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_length_and_escapes(text: &str) -> Result<(), KeyError> {
    if text.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong(text.len()));
    }
    if text.contains('%') { check_escapes(text) } else { Ok(()) }
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for LimitKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for LimitKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_texts_are_keys() {
        for good in ["a", "global:llm:openai:gpt-4o:rpm", "0/x@y+z=w-_.", &"k".repeat(256)] {
            assert_eq!(LimitKey::parse(good).as_ref().map(LimitKey::as_str), Ok(good));
        }
        assert_eq!(LimitKey::parse(""), Err(KeyError::Empty));
        assert_eq!(LimitKey::parse(":a"), Err(KeyError::BadStart(':')));
        assert_eq!(LimitKey::parse("é"), Err(KeyError::BadStart('é')));
        assert_eq!(LimitKey::parse("a b"), Err(KeyError::BadCharacter(' ')));
        assert_eq!(LimitKey::parse("a\0"), Err(KeyError::BadCharacter('\0')));
        assert_eq!(LimitKey::parse(&"k".repeat(257)), Err(KeyError::TooLong(257)));
    }
}
