//! Why a text is not a limit key.

/// The longest limit key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

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
