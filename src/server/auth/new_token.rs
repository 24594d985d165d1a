//! Makes a token and its entry in a file of tokens: `ratelimiterd token new`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::token_file::{TokenEntry, date, parse_files};
use super::{Scope, Token};

/// What a new token may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Names the holder in logs.
    pub name: String,
    /// The requests that it may make.
    pub scopes: Vec<Scope>,
    /// Patterns of the keys that it may use; none allows every key.
    pub keys: Vec<String>,
    /// After what time it ends; `None` if it does not end.
    pub expires_after: Option<Duration>,
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewTokenError {
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    Random(#[from] rand::rand_core::OsError),
    /// The time of expiry cannot be written as a date.
    #[error("the token would end too late; choose an earlier time")]
    Expiry,
    /// The entry cannot be written as TOML.
    #[error("the entry cannot be written")]
    Toml(#[from] toml::ser::Error),
    /// The name, the scopes or the keys are wrong, or the file is.
    #[error("{0}")]
    Invalid(String),
    /// The file of tokens cannot be read or written.
    #[error("cannot change {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl NewToken {
    /// Makes a token. Returns it with its entry in a file of tokens.
    pub fn make(self) -> Result<(Token, TokenEntry), NewTokenError> {
        let token = Token::generate()?;
        let end = |after| SystemTime::now().checked_add(after).and_then(date).ok_or(NewTokenError::Expiry);
        let entry = TokenEntry {
            name: self.name,
            sha256: token.digest().to_string(),
            scopes: self.scopes,
            keys: Some(self.keys).filter(|keys| !keys.is_empty()),
            expires: self.expires_after.map(end).transpose()?,
        };
        let text = entry.to_toml()?;
        check(&text)?;
        Ok((token, entry))
    }
}

impl TokenEntry {
    /// Adds the entry to a file of tokens, and makes the file if there is none. Only its owner can read a new file. An existing file
    /// keeps its owner and its rights, so that a running service can still read it.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, or another token has the name.
    pub fn append_to(&self, path: &Path) -> Result<(), NewTokenError> {
        let io = |source| NewTokenError::Io { path: path.to_owned(), source };
        let before = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io(error)),
        };
        let separator = if before.is_empty() {
            ""
        } else if before.ends_with('\n') {
            "\n"
        } else {
            "\n\n"
        };
        let addition = format!("{separator}{}", self.to_toml()?);
        check(&format!("{before}{addition}"))?;
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // One write, so that a running service does not read half an entry.
        options.open(path).and_then(|mut file| file.write_all(addition.as_bytes())).map_err(io)
    }
}

fn check(text: &str) -> Result<(), NewTokenError> {
    parse_files([(Path::new(""), text)]).map_err(|(_, error)| NewTokenError::Invalid(error))?;
    Ok(())
}
