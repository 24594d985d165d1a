//! Who may do what: callers are authenticated, and each has an [`Access`].
//!
//! | file | what it holds |
//! | --- | --- |
//! | `scope.rs` | the kinds of requests |
//! | `key_pattern.rs` | the limits that a caller may name |
//! | `access.rs` | scopes, keys and expiry together |
//! | `authenticator.rs` | from the headers of a request to its caller; follows the files |
//! | `credentials.rs` | the files of tokens and keys, read and checked together |
//! | `certificate_file.rs` | what the holders of certificates may do |
//! | `token.rs` | random tokens and their SHA-256 |
//! | `token_file.rs`, `token_table.rs` | the file of tokens, and the look-up by SHA-256 |
//! | `new_token.rs` | makes a token and its entry in the file |
//! | `jwt.rs`, `jwt_crypto.rs` | tokens of an identity provider, and how their signatures are checked |

mod access;
mod authenticator;
mod certificate_file;
mod credentials;
mod jwt;
mod jwt_crypto;
mod key_pattern;
mod new_token;
mod scope;
mod token;
mod token_file;
mod token_table;

pub use access::{Access, AllowedKeys, Caller};
pub use authenticator::{AuthError, Authenticator};
#[cfg(test)]
pub(crate) use certificate_file::CertificateTable;
pub use credentials::CredentialsError;
#[cfg(test)]
pub(crate) use jwt::JwtKeys;
pub use key_pattern::{KeyPattern, KeyPatternError};
pub use new_token::{NewToken, NewTokenError};
pub use scope::{Scope, Scopes};
pub use token::{Token, TokenDigest};
pub use token_file::TokenEntry;
#[cfg(test)]
pub(crate) use token_file::parse_entries;
