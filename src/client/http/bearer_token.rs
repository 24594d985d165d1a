//! The token that a client sends with each request.

use std::fmt;
use std::path::{Path, PathBuf};

use hyper::header::HeaderValue;

use crate::client::ErrorKind;

/// A token for a service that authenticates its callers. Neither `Debug` nor any error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(HeaderValue);

/// Why a text or a file holds no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BearerTokenError {
    /// The text is empty, or holds other characters than tokens do.
    #[error("a token has letters, digits and -._~+/= only, and is not empty")]
    Malformed,
    /// The file cannot be read.
    #[error("cannot read the token file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl BearerTokenError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed => ErrorKind::InvalidRequest,
            Self::Read { .. } => ErrorKind::File,
        }
    }
}

impl BearerToken {
    /// A token: one that `ratelimiterd token new` printed, or a JWT.
    pub fn new(token: &str) -> Result<Self, BearerTokenError> {
        let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if token.is_empty() || !token.bytes().all(is_token_byte) {
            return Err(BearerTokenError::Malformed);
        }
        let header = HeaderValue::try_from(format!("Bearer {token}"));
        let mut header = header.map_err(|_| BearerTokenError::Malformed)?;
        // HTTP/2 then keeps it out of its table of headers, and logs do not show it.
        header.set_sensitive(true);
        Ok(Self(header))
    }

    /// Reads a token from a file. White space around it is not part of it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, BearerTokenError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| BearerTokenError::Read { path: path.to_owned(), source })?;
        Self::new(text.trim())
    }

    /// The value of the `Authorization` header.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_and_never_shown() {
        let token = BearerToken::new("rl_SECRET").expect("a token");
        assert_eq!(token.header(), "Bearer rl_SECRET");
        assert_eq!(format!("{token:?}{:?}", token.header()), "BearerToken(..)Sensitive");
        for bad in ["", "a b", "a\r\nx: y", "é", "a\n"] {
            assert!(matches!(BearerToken::new(bad), Err(BearerTokenError::Malformed)), "{bad:?}");
        }
    }

    #[test]
    fn a_file_holds_a_token_and_white_space() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, " rl_SECRET\n").expect("a file");
        assert_eq!(BearerToken::read(&path).expect("a token").header(), "Bearer rl_SECRET");
        let error = BearerToken::read(folder.path().join("none")).expect_err("no file");
        assert_eq!(error.kind(), ErrorKind::File);
    }
}
