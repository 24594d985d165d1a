//! Who may do what: callers are authenticated, and each has an [`Access`].
//!
//! | file | what it holds |
//! | --- | --- |
//! | `scope.rs` | the kinds of requests |
//! | `key_pattern.rs` | the limits that a caller may name |
//! | `access.rs` | scopes, keys and expiry together |

mod access;
mod key_pattern;
mod scope;

pub use access::{Access, AllowedKeys, Caller};
pub use key_pattern::{KeyPattern, KeyPatternError};
pub use scope::{Scope, Scopes};
