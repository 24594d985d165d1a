//! Limit keys.

use std::fmt;
use std::sync::Arc;

use super::escape::check_escapes;

/// The longest limit key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// The name of a limit, such as `tenant:acme:llm:daily_tokens`: 1 to 256 bytes of `A-Z a-z 0-9 : . _ / @ + = -` and of
/// `%XX` escapes ([`escape_segment`](super::escape_segment)), the first one a letter or a digit. Cloning it is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitKey(Arc<str>);

/// Why a text is not a limit key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text is longer than [`KEY_BYTES_MAX`] bytes.
    #[error("must be at most {KEY_BYTES_MAX} bytes long, not {0}")]
    TooLong(usize),
    /// The first character is neither a letter nor a digit.
    #[error("must begin with a letter or a digit, not {0:?}")]
    BadStart(char),
    /// Braces enclose something other than a placeholder.
    #[error(
        "must not hold {0:?}; a placeholder fills a whole segment, as in a:{{tenant}}:b, its name is made of a-z 0-9 _, \
         and appears once; the last segment may be {{name*}}, which takes the rest of the key"
    )]
    BadPlaceholder(String),
    /// The text holds a character that keys may not have.
    #[error("must not hold {0:?}; allowed are A-Z a-z 0-9 : . _ / @ + = - and %XX escapes of other bytes")]
    BadCharacter(char),
    /// A `%` begins no escape.
    #[error("must have two hexadecimal digits after each '%'; a '%' itself is spelled %25")]
    BadEscape,
    /// An escape is in lower case, or stands for a byte that needs none. Holds the right spelling of the text.
    #[error(
        "must be spelled {0:?}: escapes are in upper case, and only bytes that keys cannot hold are escaped"
    )]
    OtherSpelling(String),
}

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
        super::template::check_segments(text)?;
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

/// Checks the characters of a text whose escapes are good.
pub(super) fn check_characters(text: &str) -> Result<(), KeyError> {
    let bad = text.chars().find(|&c| c != '%' && !is_key_character(c));
    bad.map_or(Ok(()), |bad| Err(KeyError::BadCharacter(bad)))
}

/// Whether a key holds this character without an escape.
pub(super) fn is_key_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '_' | '/' | '@' | '+' | '=' | '-')
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
