//! TLS: the certificate of the service and the authorities of its clients, read again when they change.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `files` | the PEM files, and what rustls makes of them |
//! | `identity` | whom the certificate of a client names |
//! | `reload` | looks for changes, and keeps the last good files |

mod files;
mod identity;
mod reload;

#[cfg(test)]
pub(crate) use files::Files;
pub use files::TlsError;
pub use identity::ClientIdentity;
pub(crate) use reload::{Configs, ReloadingTls};
